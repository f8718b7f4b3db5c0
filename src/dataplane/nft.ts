import { parseIp } from '../base/address.ts';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import { flowKey } from '../base/tcp-flow.ts';
import { slotOf } from '../space/partition.ts';
import type { Adopted, DataPlane, FlowCounters } from './data-plane.ts';
import { type Diversions, divertedBy, type FlowChange } from './diversions.ts';
import { type ForwardingTable, holdDeviceOf, type Row, type Rows, type ServiceEntry } from './forwarding-table.ts';
import {
  addTransactions,
  divertedSet,
  divertTransaction,
  forgetTransaction,
  holdDeviceTransaction,
} from './nft-diversions.ts';
import { armChanges, type ElementChange, grantChanges } from './nft-fences.ts';
import { rowOfChain } from './nft-rows.ts';
import { changeTransactions, fingerprintOf, installTransactions, removeTransaction, tableName } from './nft-ruleset.ts';
import { addressOfKey, flowOfKey, seenSet, stayingSets } from './nft-staying.ts';
import { noFlows, nothingStays, type Staying, udpFlowsOf } from './staying.ts';

/**
 * Runs all of `commands` in this network namespace as one atomic transaction and returns what they list, as JSON; throws an
 * OperatingError and changes nothing otherwise.
 */
export type RunNft = (commands: string) => string;

/** Keys of the elements of a set of a netdev table, as the kernel has them; throws an OperatingError when there is no such set. */
export type ReadSet = (table: string, set: string) => readonly DataView[];

/** Makes all changes in one atomic transaction; throws an OperatingError and changes nothing when the kernel refuses one. */
export type ChangeElements = (changes: readonly ElementChange[]) => void;

/** What the data plane needs of nftables. */
export interface Nftables {
  readonly run: RunNft;
  readonly readSet: ReadSet;
  readonly changeElements: ChangeElements;
  /** Of a device of this name; one that was removed and is back has another. Null while there is none. */
  readonly deviceIndex: (device: string) => number | null;
}

/** The Linux data plane: one nftables table for what arrives and one for what leaves, for one service. */
export function createNftDataPlane(nftables: Nftables, service: ServiceEntry): DataPlane {
  const { run: runNft, readSet, changeElements } = nftables;
  /** What the kernel is to hold, and whether it is known to. */
  let wanted: ForwardingTable | null = null;
  let isKnown = false;
  const hook = createHook(nftables, service);
  const diverted = createDiverted(nftables, service);

  function run(transactions: readonly string[]): void {
    isKnown = false;
    for (const transaction of transactions) runNft(transaction);
    isKnown = true;
  }

  function install(table: ForwardingTable): void {
    hook.note();
    run([...installTransactions(table), ...diverted.transactions()]);
    diverted.findHoldDevice();
  }

  return {
    arm: (fence, mark, ms) => changeElements(armChanges(tableName(service), fence, mark, ms)),
    grant: (fence, mark) => changeElements(grantChanges(service, tableName(service), fence, mark)),
    async apply(table: ForwardingTable): Promise<boolean> {
      const from = isKnown ? wanted : null;
      wanted = table;
      if (from) {
        try {
          run(changeTransactions(from, table));
          return false;
        } catch {
          // Somebody else changed or flushed our table, and the kernel refused the whole change: say it all again.
        }
      }
      install(table);
      return true;
    },
    divert: async (changes) => (wanted && isKnown ? diverted.change(changes) : throwNoTable()),
    async adopt(): Promise<Adopted | null> {
      const table = adoptedTable(nftables, service);
      diverted.forget();
      wanted = table;
      isKnown = table !== null;
      return table && { rows: table.rows, staying: table.staying };
    },
    seen: async () => (service.udpIdleMs === undefined ? [] : readSet(tableName(service), seenSet).map(flowOfKey)),
    async repair(closely: boolean): Promise<boolean> {
      if (!wanted || (isKnown && hook.isInPlace() && isStanding(nftables, wanted, diverted, closely))) return false;
      install(wanted);
      return true;
    },
    counters: async () => countersOf(runNft, tableName(service)),
    async remove(): Promise<void> {
      wanted = null;
      isKnown = false;
      diverted.forget();
      runNft(removeTransaction(service));
    },
  };
}

function throwNoTable(): never {
  throw new OperatingError('nftables', 'there is no table to divert flows in');
}

/** Older kernels do not hook a table again to a device that was removed and is back, and list it as before. */
function createHook({ deviceIndex }: Nftables, { device }: ServiceEntry): { note(): void; isInPlace(): boolean } {
  let hookedTo = deviceIndex(device);
  return {
    note(): void {
      hookedTo = deviceIndex(device);
    },
    isInPlace(): boolean {
      const index = deviceIndex(device);
      return index === null || index === hookedTo;
    },
  };
}

/** The flows that are to be diverted, in a table that stands. */
interface DivertedFlows {
  /** Throws an OperatingError and changes nothing when the kernel refuses. */
  change(changes: readonly FlowChange[]): void;
  /** Those that have a new table divert them. */
  transactions(): string[];
  /** After them: has their packets go to the hold device, when it is there. */
  findHoldDevice(): void;
  /** The kernel diverts them and no others. */
  stand(): boolean;
  forget(): void;
}

function createDiverted({ run: runNft, readSet }: Nftables, service: ServiceEntry): DivertedFlows {
  const name = tableName(service);
  let diversions: Diversions = new Map();
  return {
    change(changes: readonly FlowChange[]): void {
      const to = divertedBy(diversions, changes);
      const transaction = divertTransaction(service, name, { from: diversions, to, changes });
      try {
        if (transaction !== '') runNft(transaction);
      } catch (cause) {
        const where = changes.some(({ isDiverted }) => isDiverted) ? ` (to ${holdDeviceOf(service)})` : '';
        throw new OperatingError('nftables', `flows cannot be diverted${where}: ${messageOf(cause)}`, { cause });
      }
      diversions = to;
    },
    transactions: () => addTransactions(name, diversions),
    findHoldDevice(): void {
      if (diversions.size === 0) return;
      try {
        runNft(holdDeviceTransaction(service, name));
      } catch {
        // Whoever held them has gone, and the device with it: their packets drop.
      }
    },
    stand(): boolean {
      try {
        const keys = readSet(name, divertedSet).map((key) => flowKey(flowOfKey(key)));
        return keys.length === diversions.size && keys.every((key) => diversions.has(key));
      } catch {
        return false;
      }
    },
    forget(): void {
      diversions = new Map();
    },
  };
}

function list(runNft: RunNft, command: string): Listing['nftables'] {
  return (JSON.parse(runNft(command)) as Listing).nftables;
}

/** Both tables are there, and made by these rules. */
function stands(runNft: RunNft, service: ServiceEntry): boolean {
  const name = tableName(service);
  try {
    // Of all listings this alone does not read the elements of maps, which takes longer than a lease when there are many.
    const chains = ['netdev', 'ip'].flatMap((family) => list(runNft, `list chains ${family}`));
    const isThere = (family: string, chainName: string): boolean =>
      chains.some(({ chain }) => chain?.family === family && chain.table === name && chain.name === chainName);
    // Older kernels remove a hooked chain with its device, and it alone.
    return ['ingress', fingerprintOf(service)].every((each) => isThere('netdev', each)) && isThere('ip', 'stranger');
  } catch {
    return false;
  }
}

/** The kernel has this table, at a glance or looked at closely. */
function isStanding(nftables: Nftables, table: ForwardingTable, diverted: DivertedFlows, closely: boolean): boolean {
  if (!closely) return stands(nftables.run, table.service);
  const standing = standingTable(nftables, table.service);
  return standing !== null && changeTransactions(standing, table).length === 0 && diverted.stand();
}

type StandingTable = ForwardingTable & { readonly staying: Staying };

/** What stands in the kernel; null when that is not wholly a table of these rules. */
function standingTable({ run, readSet }: Nftables, service: ServiceEntry): StandingTable | null {
  const rows = standingRows(run, service);
  if (rows === null || service.udpIdleMs === undefined) return rows && { service, rows, staying: nothingStays };
  try {
    const keys = (side: keyof Staying) => readSet(tableName(service), stayingSets[side]);
    const kept = udpFlowsOf(keys('kept').map(flowOfKey));
    const foreign = udpFlowsOf(keys('foreign').map(flowOfKey));
    const shut = new Set(keys('shut').map((key) => slotOf(service.partition, addressOfKey(key))));
    return { service, rows, staying: { kept, foreign, shut } };
  } catch {
    return null;
  }
}

function standingRows(runNft: RunNft, service: ServiceEntry): Rows | null {
  const name = tableName(service);
  if (!stands(runNft, service)) return null;
  try {
    const settled = new Set(list(runNft, `list set ip ${name} settled`).flatMap(({ set }) => set?.elem ?? []));
    const elements = list(runNft, `list map netdev ${name} slots`).flatMap(({ map }) => map?.elem ?? []);
    return rowsOf(service, elements, settled);
  } catch {
    return null;
  }
}

/** What stands, with no flow diverted or kept any more; null when that is not wholly a table of these rules. */
function adoptedTable(nftables: Nftables, service: ServiceEntry): StandingTable | null {
  const table = standingTable(nftables, service);
  if (!table) return null;
  const name = tableName(service);
  const forget = [forgetTransaction(name)];
  if (service.udpIdleMs !== undefined) forget.push(`flush set netdev ${name} ${stayingSets.kept}`);
  try {
    nftables.run(forget.join('\n'));
    return { ...table, staying: { ...table.staying, kept: noFlows } };
  } catch {
    return null;
  }
}

function countersOf(runNft: RunNft, name: string): FlowCounters {
  const listed = ['netdev', 'ip'].flatMap((family) => list(runNft, `list counters table ${family} ${name}`));
  const packets = new Map(listed.flatMap(({ counter }) => (counter ? [[counter.name, counter.packets]] : [])));
  const count = (counter: string) => packets.get(counter) ?? 0;
  return {
    accepted: count('accepted'),
    relayed: count('relayed'),
    dropped: count('dropped'),
    resetsWithheld: count('withheld'),
    resetsAsked: count('asked'),
    held: count('held'),
  };
}

/** The part of libnftables-json(5) that is read here. */
interface Listing {
  readonly nftables: readonly {
    readonly chain?: { readonly family: string; readonly table: string; readonly name: string };
    readonly counter?: { readonly name: string; readonly packets: number };
    readonly map?: { readonly elem?: readonly MapElement[] };
    readonly set?: { readonly elem?: readonly string[] };
  }[];
}

/** The masked address, and where it goes. */
type MapElement = readonly [string, { readonly goto?: { readonly target: string } }];

/** Null when an element is none of ours. */
function rowsOf(service: ServiceEntry, elements: readonly MapElement[], settled: ReadonlySet<string>): Rows | null {
  const rows = new Map<number, Row>();
  for (const [address, verdict] of elements) {
    const parsed = parseIp(address);
    const row = rowOfChain(verdict.goto?.target ?? '', settled.has(address));
    if (!parsed.ok || row === null) return null;
    rows.set(slotOf(service.partition, parsed.value), row);
  }
  return rows;
}
