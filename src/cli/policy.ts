import { readFileSync } from 'node:fs';
import type { PolicyPlan } from '../agent/routes.ts';
import { parseIp } from '../base/address.ts';
import { messageAbout, OperatingError } from '../base/operating-error.ts';
import { askAgent, askAgentOnce } from '../platform/agent-client.ts';
import { parsePolicy } from '../policy/index.ts';
import { partitionOf } from '../space/index.ts';
import { type AskOptions, showProgress } from './change.ts';

export async function checkPolicy(file: string, { partition: mask }: { partition: string }): Promise<void> {
  const address = parseIp(mask);
  const partition = address.ok ? partitionOf(address.value) : address;
  if (!partition.ok) throw new OperatingError('usage', `--partition: ${partition.reason}`);
  const parsed = parsePolicy(read(file), partition.value.slotCount);
  if (!parsed.ok) throw new OperatingError('policy', `${file}: ${parsed.reason}`);
  process.stdout.write(`${file}: good, strategy ${parsed.value.strategy}, handoff ${parsed.value.handoff}\n`);
}

export async function planPolicy(file: string, { socket, json }: AskOptions): Promise<void> {
  const plan = await askAgentOnce<PolicyPlan>(socket, 'POST', '/v1/policy/plan', read(file));
  if (json) return void process.stdout.write(`${JSON.stringify(plan, null, 2)}\n`);
  if (plan.moves.length === 0) return void process.stdout.write('nothing would move\n');
  for (const { slots, count, from, to } of plan.moves) {
    process.stdout.write(`${String(count).padStart(5)} slots from ${from ?? 'nobody'} to ${to}: ${slots}\n`);
  }
  process.stdout.write(`then ${plan.owners.map(({ name, count }) => `${name} ${count}`).join(', ')}\n`);
}

export async function applyPolicy(file: string, { socket, json }: AskOptions): Promise<void> {
  await showProgress(askAgent(socket, 'POST', '/v1/policy/apply', read(file)), 'policy', json ?? false);
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new OperatingError('policy', messageAbout(file, cause), { cause });
  }
}
