import type { ControlView, Verdict } from '../control/io.ts';
import type { DataPlaneCounters } from '../dataplane/data-plane.ts';
import type { Policy } from '../policy/index.ts';
import { formatSlots, type Partition } from '../space/index.ts';
import type { AgentConfig } from './config.ts';
import { type LinkStatus, linkLines } from './link-status.ts';
import type { PolicyFileState } from './policy-file.ts';
import { type ShareStatus, sharesOf } from './shares.ts';
import { type SignatureStatus, signatureLines } from './signature-status.ts';

/** What `GET /v1/status` answers. */
export interface AgentStatus {
  readonly node: string;
  readonly version: string;
  readonly verdict: Verdict;
  readonly cause: string;
  readonly epoch: number;
  readonly coordinator: string | null;
  /** Who votes, and whether it is heard; `forgetful`: has lost its memory and is to be seated anew. */
  readonly voters: ControlView['voters'];
  /** This kernel may take new connections now. */
  readonly leased: boolean;
  readonly settled: boolean;
  readonly service: { readonly name: string; readonly address: string; readonly ports: readonly string[] };
  readonly owners: readonly ShareStatus[];
  /** Replicas that may still hold connections of slots they gave away: slots as text, their count. */
  readonly holders: readonly {
    readonly name: string;
    readonly slots: string;
    readonly count: number;
    /** At most. */
    readonly secondsLeft: number;
  }[];
  readonly unhealthy: readonly string[];
  readonly drained: readonly string[];
  /** Slots without an owner, as text. */
  readonly unowned: string;
  /** Slots that this replica's kernel was told to accept, as text. */
  readonly accepting: string;
  readonly moves: readonly {
    readonly slots: string;
    readonly from: string;
    readonly to: string;
    readonly phase: string;
  }[];
  /** Routers that a move of slots of this replica waits for. */
  readonly awaitedRouters: readonly string[];
  readonly policy: Policy | null;
  readonly policyFile: { readonly path: string; readonly state: PolicyFileState; readonly problem: string | null };
  readonly peers: ControlView['peers'];
  /** Null while the kernel's table cannot be read. */
  readonly packets: DataPlaneCounters | null;
  /** Why connections that this replica does not know are reset without asking the others, one line; null where they are asked. */
  readonly resetUnasked: string | null;
  /** Input that changed nothing, by reason. */
  readonly refused: Readonly<Record<string, number>>;
  /** What is wrong with the links by which connections move. */
  readonly links: LinkStatus;
  readonly signatures: SignatureStatus;
  /** What ends the share when its lease is over, one line. */
  readonly fence: string;
}

/** Of every data plane whose table is in the kernel. */
export const kernelFence = 'the kernel, by itself';

export interface StatusParts {
  readonly config: AgentConfig;
  readonly version: string;
  readonly partition: Partition;
  readonly view: ControlView;
  readonly policyFile: { readonly state: PolicyFileState; readonly problem: string | null };
  readonly packets: DataPlaneCounters | null;
  readonly resets: { readonly problem: string | null };
  /** Datagrams that were not authentic, by reason. */
  readonly refused: ReadonlyMap<string, number>;
  readonly links: LinkStatus;
  readonly signatures: SignatureStatus;
  readonly fence: string;
}

export async function statusOf(parts: StatusParts): Promise<AgentStatus> {
  const { config, version, partition, view, policyFile, packets, refused, links, signatures } = parts;
  const { verdict, cause, epoch, coordinator, voters, leased, settled, policy, peers, unhealthy, drained } = view;
  const { name, address, ports } = config.service;
  return {
    node: config.node,
    version,
    verdict,
    cause,
    epoch,
    coordinator,
    voters,
    leased,
    settled,
    service: { name, address, ports },
    owners: await sharesOf(partition, view.owners, view.members),
    holders: holdersOf(view),
    unhealthy,
    drained,
    unowned: formatSlots(view.owners.flatMap((owner, slot) => (owner === null ? [slot] : []))),
    accepting: formatSlots(view.accepting),
    awaitedRouters: view.awaitedRouters,
    moves: view.moves.map(({ slots, from, to, phase }) => ({ slots: formatSlots(slots), from, to, phase })),
    policy,
    policyFile: { path: config.policy, ...policyFile },
    peers,
    packets,
    resetUnasked: parts.resets.problem,
    refused: { ...view.refused, ...Object.fromEntries(refused) },
    links,
    signatures,
    fence: parts.fence,
  };
}

/** The verdict, then the cause, then what differs from what should be; a table of the shares. */
export function formatStatus(status: AgentStatus): string {
  const { service, policyFile } = status;
  const lines = [
    `${status.node}: ${status.cause}`,
    `service ${service.name} at ${service.address}, ${service.ports.join(' ')}; epoch ${status.epoch}, coordinator ${status.coordinator ?? 'none'}`,
    policyLine(status),
    voterLine(status),
    ...status.moves.map((move) => `moving ${move.slots} from ${move.from} to ${move.to}: ${move.phase}`),
  ];
  for (const router of status.awaitedRouters) {
    lines.push(
      `the move waits for router ${router}; if it is gone for good, take it out of \`routers\` in every agent.yaml and restart the agents`,
    );
  }
  lines.push(
    ...status.holders.map(
      ({ name, count, secondsLeft }) =>
        `${name} may still hold connections of ${count} slots it gave away, for ${secondsLeft} s at most`,
    ),
  );
  if (status.unhealthy.length > 0) lines.push(`unhealthy: ${status.unhealthy.join(', ')}`);
  if (status.drained.length > 0) lines.push(`drained: ${status.drained.join(', ')}`);
  if (policyFile.problem) lines.push(`${policyFile.path}: ${policyFile.problem}`);
  if (status.resetUnasked)
    lines.push(`unknown connections are reset without asking the others: ${status.resetUnasked}`);
  if (status.fence !== kernelFence) lines.push(`fence: ${status.fence}`);
  // Who is revoked has a line of its own.
  const silent = status.peers.filter(({ state }) => state !== 'heard' && state !== 'revoked');
  for (const peer of silent) lines.push(`${peer.name}: ${peer.state}`);
  lines.push(...signatureLines(status.signatures, status.node), ...linkLines(status.links));
  if (status.owners.length > 0) lines.push('', ...shareTable(status.owners));
  if (status.unowned !== '') lines.push(`nobody: ${status.unowned}`);
  if (status.packets) lines.push('', `packets accepted ${status.packets.accepted}, dropped ${status.packets.dropped}`);
  return `${lines.join('\n')}\n`;
}

/** A host may be named several times, by the epochs in which it gave slots away. */
function holdersOf({ holders }: ControlView): AgentStatus['holders'] {
  return [...new Set(holders.map(({ name }) => name))].map((name) => {
    const entries = holders.filter((holder) => holder.name === name);
    const slots = [...new Set(entries.flatMap((entry) => entry.slots))].sort((a, b) => a - b);
    const secondsLeft = Math.ceil(Math.max(...entries.map(({ msLeft }) => msLeft)) / 1000);
    return { name, slots: formatSlots(slots), count: slots.length, secondsLeft };
  });
}

const voterNotes = { heard: '', silent: ' (silent)', forgetful: ' (has lost its memory)' } as const;

function voterLine({ voters, leased }: AgentStatus): string {
  const names = voters.map(({ name, state }) => `${name}${voterNotes[state]}`).join(', ');
  return `voters ${names || 'unknown'}; ${leased ? 'takes new connections' : 'takes no new connections'}`;
}

function policyLine({ policy, policyFile }: AgentStatus): string {
  const inForce = policy ? `policy ${policy.strategy}, handoff ${policy.handoff}` : 'no policy in force';
  return policyFile.state === 'in force'
    ? inForce
    : `${inForce}; the file ${policyFile.path} ${fileNotes[policyFile.state]}`;
}

const fileNotes = {
  'in force': 'is in force',
  differs: 'differs: save or apply it to put it in force',
  missing: 'is missing',
  refused: 'is refused',
} as const;

/** As many filters as fit a terminal; `--json` has them all. */
const filtersShown = 4;

function shareTable(shares: readonly ShareStatus[]): string[] {
  const width = Math.max(7, ...shares.map(({ name }) => name.length));
  const rows = shares.flatMap(({ name, count, slots, filters }) => {
    const share = `${name.padEnd(width)}  ${String(count).padStart(5)}  ${slots}`.trimEnd();
    const shown = filters.slice(0, filtersShown).join(' ');
    const more = filters.length > filtersShown ? ` and ${filters.length - filtersShown} more` : '';
    return filters.length > 0 ? [share, `${' '.repeat(width + 9)}${shown}${more}`] : [share];
  });
  return [`${'replica'.padEnd(width)}  slots`, ...rows];
}
