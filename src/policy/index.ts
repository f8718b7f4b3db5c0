export { canonicalPolicy, parsePolicy } from './parse.ts';
export { type Move, movesBetween, planShares, type ShareInput } from './planner.ts';
export { type Policy, policySchema } from './schema.ts';
