export { measureMeanings } from './measures.ts';
export { formatRepetition, type RepetitionReport, repetitionOf } from './repetition.ts';
export { formatReport, type ScenarioReport } from './report.ts';
export { runScenario, type ScenarioRun, writeRepetition, writeReport } from './run.ts';
export { readScenario, readStep, type Scenario, scenarioSchema } from './schema.ts';
export { stepLabel } from './step-label.ts';
export { takeStep } from './steps.ts';
