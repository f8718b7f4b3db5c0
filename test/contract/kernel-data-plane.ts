import { fileURLToPath } from 'node:url';
import type { MacAddress } from '../../src/base/mac.ts';
import type { FlowCounters } from '../../src/dataplane/data-plane.ts';
import type { ForwardingTable, Row } from '../../src/dataplane/forwarding-table.ts';
import type { Packet, ResetVerdict, Verdict } from '../../src/dataplane/packet.ts';
import { type Staying, type UdpFlow, udpFlowsOf } from '../../src/dataplane/staying.ts';
import type { JudgedDataPlane } from './data-plane-contract.ts';
import { openNamespaceHost } from './namespace-host.ts';

/** A real kernel's data plane in a namespace that ends with its process. */
export interface KernelDataPlane extends JudgedDataPlane {
  /** Another program runs nft commands. */
  runByOthers(commands: string): Promise<void>;
  /** Another program empties the whole rule set. */
  flushByOthers(): Promise<void>;
  repair(): Promise<boolean>;
  /** `ip` with those arguments. */
  runIp(...words: string[]): Promise<void>;
  /** The device of the service has gone, and another has its name. */
  renumber(): Promise<void>;
  /** Without a close look. */
  glance(): Promise<boolean>;
  /** Names of all tables of the namespace. */
  tables(): Promise<string[]>;
  close(): Promise<void>;
}

export function openKernelDataPlane(): KernelDataPlane {
  const { ask, close } = openNamespaceHost(fileURLToPath(new URL('kernel-host.mjs', import.meta.url)));
  return {
    apply: async (table: ForwardingTable) =>
      void (await ask('apply', {
        service: table.service,
        rows: [...table.rows],
        kept: [...(table.staying?.kept.values() ?? [])],
        foreign: [...(table.staying?.foreign.values() ?? [])],
        shut: [...(table.staying?.shut ?? [])],
      })),
    arm: async (fence, mark, ms) => void (await ask('arm', { fence, mark, ms })),
    grant: async (fence, mark) => void (await ask('grant', { fence, mark })),
    divert: async (changes) => void (await ask('divert', changes)),
    runIp: async (...words) => void (await ask('runIp', { words })),
    async adopt() {
      const adopted = (await ask('adopt')) as ({ rows: [number, Row][] } & Listed) | null;
      return adopted && { rows: new Map(adopted.rows), staying: stayingOf(adopted) };
    },
    seen: async () => (await ask('seen')) as UdpFlow[],
    judgeReset: async (client) => ((await ask('judgeResets', { client, count: 1 })) as ResetVerdict[])[0] ?? 'leaves',
    judgeResets: async (client, count) => (await ask('judgeResets', { client, count })) as ResetVerdict[],
    letsGo: async (client) => (await ask('letsGo', client)) as boolean,
    copiesOf: async (packet) => (await ask('copiesOf', packet)) as MacAddress[],
    judge: async (packet: Packet) => (await ask('judge', packet)) as Verdict,
    counters: async () => (await ask('counters')) as FlowCounters,
    remove: async () => void (await ask('remove')),
    flushByOthers: async () => void (await ask('flushByOthers')),
    repair: async () => (await ask('repair')) as boolean,
    renumber: async () => void (await ask('renumber')),
    glance: async () => (await ask('glance')) as boolean,
    runByOthers: async (commands) => void (await ask('runByOthers', { commands })),
    tables: async () => (await ask('ruleset')) as string[],
    close,
  };
}

/** What stays, as JSON has it. */
interface Listed {
  readonly kept: UdpFlow[];
  readonly foreign: UdpFlow[];
  readonly shut: number[];
}

function stayingOf({ kept, foreign, shut }: Listed): Staying {
  return { kept: udpFlowsOf(kept), foreign: udpFlowsOf(foreign), shut: new Set(shut) };
}
