export { measureMeanings } from './measures.ts';
export { formatRepetition, type RepetitionReport, repetitionOf } from './repetition.ts';
export { formatReport, type ScenarioReport } from './report.ts';
export { runScenario, type ScenarioRun, writeRepetition, writeReport } from './run.ts';
export { readScenario, type Scenario, scenarioSchema } from './schema.ts';
