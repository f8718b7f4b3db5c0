export { measureMeanings } from './measures.ts';
export { missingNeed } from './needs.ts';
export { runOnSim, unfitForSim } from './on-sim.ts';
export { formatRepetition, type RepetitionReport, repetitionOf } from './repetition.ts';
export {
  formatReport,
  formatSkipped,
  type Place,
  type ScenarioReport,
  type SkippedReport,
  skippedReport,
  type Taken,
} from './report.ts';
export { runScenario, type ScenarioRun, writeRepetition, writeReport, writeSkipped } from './run.ts';
export { readScenario, readStep, type Scenario, scenarioSchema, withDelivery } from './schema.ts';
export { stepLabel } from './step-label.ts';
export { takeStep } from './steps.ts';
