export { type RunOptions, type RunResult, runSeed } from './run.ts';
export type { Settle, Violation } from './timeline.ts';
