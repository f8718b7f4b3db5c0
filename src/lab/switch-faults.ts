import { execFileSync } from 'node:child_process';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import type { LabPlan } from './plan.ts';
import { type SwitchFaults, stateOfLab, writeLabState } from './state.ts';

const table = 'manycast_faults';

export const noFaults: SwitchFaults = { blocks: [], loss: { percent: 0, spared: [] } };

export function switchFaultsOf(plan: LabPlan): SwitchFaults {
  return stateOfLab(plan.name).switchFaults;
}

/** Makes the switch do exactly these, in one transaction. */
export function setSwitchFaults(plan: LabPlan, faults: SwitchFaults): void {
  const script = switchRules(plan, faults);
  try {
    execFileSync('ip', ['netns', 'exec', plan.switchNamespace, 'nft', '-f', '-'], {
      input: script,
      stdio: ['pipe', 'ignore', 'pipe'],
    });
  } catch (cause) {
    const said = String((cause as { stderr?: unknown }).stderr ?? '').trim();
    throw new OperatingError('lab', `nft at the switch: ${said || messageOf(cause)}`, { cause });
  }
  writeLabState({ ...stateOfLab(plan.name), switchFaults: faults });
}

/** For `nft -f`. The forward hook sees a flooded frame once for each port that it leaves by, so pairs of ports are told apart. */
export function switchRules({ control }: LabPlan, { blocks, loss }: SwitchFaults): string {
  const rules = blocks.map(([from, to]) => `iifname "${from}" oifname "${to}" drop`);
  const spared = loss.spared.map((name) => `iifname != "${name}" oifname != "${name}" `).join('');
  // `numgen` rather than netem, which not every kernel has; it does not compare with 100.
  const chance = loss.percent < 100 ? ` numgen random mod 100 < ${loss.percent}` : '';
  if (loss.percent > 0) rules.push(`${spared}udp dport ${control.port}${chance} drop`);
  return `table bridge ${table}
delete table bridge ${table}
table bridge ${table} {
  chain forward {
    type filter hook forward priority 0; policy accept;
${rules.map((rule) => `    ${rule}\n`).join('')}  }
}
`;
}
