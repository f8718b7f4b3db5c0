export { type RunOptions, type RunResult, runSeed } from './run.ts';
export { openScene, Scene, type SceneOptions } from './scene.ts';
export type { Settle, Violation } from './timeline.ts';
