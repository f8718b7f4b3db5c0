import { execFileSync } from 'node:child_process';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import type { LabPlan } from './plan.ts';

/** What the switch does wrong. */
export interface SwitchFaults {
  /** Pairs of nodes; no frame gets from the first to the second. */
  readonly blocks: readonly (readonly [from: string, to: string])[];
  /** Datagrams of the control channel that are lost, in percent, for each receiver of a multicast by itself; not those from and to `spared`. */
  readonly loss: { readonly percent: number; readonly spared: readonly string[] };
}

const table = 'manycast_faults';

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
