export { measureMeanings } from './measures.ts';
export { formatReport, type ScenarioReport } from './report.ts';
export { runScenario, type ScenarioRun, writeReport } from './run.ts';
export { readScenario, type Scenario, scenarioSchema } from './schema.ts';
