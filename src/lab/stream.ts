export { createPatternCheck, type PatternCheck } from './byte-pattern.ts';
export { sendPattern } from './byte-sender.ts';
export {
  countsOf,
  greetingBytes,
  nodeOf,
  rateHeader,
  type StreamCounts,
  streamPort,
  trailerBytes,
} from './stream-protocol.ts';
