import { parseIp } from '../base/address.ts';
import { OperatingError } from '../base/operating-error.ts';
import { slotOf } from '../space/partition.ts';
import {
  type EdgeApplied,
  type EdgeCounters,
  type EdgePlane,
  type EdgeService,
  type EdgeTable,
  hopKey,
  type NextHop,
} from './edge.ts';
import { createEdgeGroups } from './edge-groups.ts';
import { createEdgeHops, type EdgeHops, type EdgeLack, nothingLacks } from './edge-hops.ts';
import type { RunIp } from './edge-routes.ts';
import type { RunNft } from './nft.ts';
import { changeEdge, edgeFingerprint, edgeTableName, installEdge, removeEdge } from './nft-edge.ts';

/** What an edge needs of its kernel. */
export interface EdgeKernel {
  readonly nft: RunNft;
  readonly ip: RunIp;
}

/** The Linux edge: for each service one nftables table that marks its packets with their next hop; for each next hop a route of its own, by that mark. Datagrams to a group go by its table alone. */
export function createEdgePlane({ nft, ip }: EdgeKernel): EdgePlane {
  let wanted: EdgeTable = { services: [] };
  const hops = createEdgeHops(ip);
  const groups = createEdgeGroups(ip);
  const tables = createTables(nft, hops);
  return {
    apply(table: EdgeTable): EdgeApplied {
      hops.name(table);
      const before = wanted;
      wanted = table;
      const gone = before.services.filter(({ name }) => !table.services.some((each) => each.name === name));
      // One next hop that cannot be had keeps nobody from the others.
      const { errors, isDone } = attempts();
      const lacking: EdgeLack = isDone(() => hops.add(table)) ? nothingLacks : hops.lacking(table);
      for (const service of gone) isDone(() => tables.remove(service));
      const programmed = table.services.filter((service) => isDone(() => tables.program(service)));
      isDone(() => hops.drop(table, before));
      const areJoined = isDone(() => groups.set(table));
      const stands = (service: EdgeService): boolean =>
        !lacking.services.includes(service) && (areJoined || !service.clientDevices);
      return {
        errors,
        services: new Set(programmed.filter(stands).map(({ name }) => name)),
        reaches: (hop) => !lacking.hops.has(hopKey(hop)),
      };
    },
    adopt(services: readonly EdgeService[]): EdgeTable {
      hops.adopt();
      groups.adopt({ services });
      wanted = { services: services.flatMap((service) => tables.adopt(service) ?? []) };
      return wanted;
    },
    repair(): boolean {
      const { errors, isDone } = attempts();
      let isChanged = false;
      const repairs = [
        () => hops.repair(wanted),
        ...wanted.services.map((service) => () => tables.repair(service)),
        () => groups.repair(wanted),
      ];
      for (const repair of repairs) {
        isDone(() => {
          if (repair()) isChanged = true;
        });
      }
      if (errors.length > 0) throw errors[0];
      return isChanged;
    },
    counters: (name) => countersOf(nft, edgeTableName({ name })),
    remove(): void {
      for (const service of wanted.services) tables.remove(service);
      wanted = { services: [] };
      hops.remove();
      groups.set(wanted);
    },
  };
}

/** Does one thing after the other, also when one before it failed; `errors` are what was thrown. */
function attempts(): { readonly errors: readonly unknown[]; isDone(work: () => void): boolean } {
  const errors: unknown[] = [];
  return {
    errors,
    isDone(work: () => void): boolean {
      try {
        work();
        return true;
      } catch (error) {
        errors.push(error);
        return false;
      }
    },
  };
}

/** The nftables tables, one for each service. */
interface Tables {
  program(service: EdgeService): void;
  /** True when it was not as programmed. */
  repair(service: EdgeService): boolean;
  /** What stands of it; null for nothing. */
  adopt(service: EdgeService): EdgeService | null;
  remove(service: EdgeService): void;
}

function createTables(nft: RunNft, hops: EdgeHops): Tables {
  /** What the kernel is known to hold, by name. */
  const known = new Map<string, EdgeService>();

  function run(service: EdgeService, transactions: readonly string[]): void {
    known.delete(service.name);
    for (const each of transactions) nft(each);
    known.set(service.name, service);
  }

  function program(service: EdgeService): void {
    const from = known.get(service.name);
    if (from && edgeFingerprint(from) === edgeFingerprint(service)) {
      try {
        run(service, changeEdge(from, service, hops.marks()));
        return;
      } catch {
        // Somebody else changed or flushed our table, and the kernel refused the change: say it all again.
      }
    }
    run(service, installEdge(service, hops.marks()));
  }

  return {
    program,
    repair(service: EdgeService): boolean {
      const there = standingService(nft, service, hops.byMark());
      if (there && changeEdge(there, service, hops.marks()).length === 0) return false;
      run(service, installEdge(service, hops.marks()));
      return true;
    },
    adopt(service: EdgeService): EdgeService | null {
      const there = standingService(nft, service, hops.byMark());
      known.delete(service.name);
      if (there) known.set(service.name, there);
      return there;
    },
    remove(service: EdgeService): void {
      known.delete(service.name);
      nft(removeEdge(service));
    },
  };
}

/** The part of libnftables-json(5) that is read here. */
interface Listing {
  readonly nftables: readonly {
    readonly chain?: { readonly table: string; readonly name: string };
    readonly counter?: { readonly name: string; readonly packets: number };
    readonly map?: { readonly name: string; readonly elem?: readonly [Key, number | string][] };
  }[];
}

/** A masked address, or the fields of a tag. */
type Key = string | { readonly concat: readonly (string | number)[] };

/** The service with the owners and tags that the kernel has; null when that is not wholly a table of these rules. */
function standingService(nft: RunNft, service: EdgeService, hops: ReadonlyMap<number, NextHop>): EdgeService | null {
  const table = edgeTableName(service);
  try {
    const { nftables } = JSON.parse(nft(`list table ip ${table}`)) as Listing;
    if (!nftables.some(({ chain }) => chain?.name === edgeFingerprint(service))) return null;
    const elements = (name: string) => nftables.find(({ map }) => map?.name === name)?.map?.elem ?? [];
    const hopOf = (value: number | string): NextHop => {
      const hop = typeof value === 'string' ? hopTo(value) : hops.get(value);
      if (!hop) throw new OperatingError('edge', `no route for mark ${value}`);
      return hop;
    };
    const owners = elements('owners').map(([key, mark]) => [slotOfKey(service, key), hopOf(mark)] as const);
    const tags = elements('tags').map(([key, mark]) => [tagOfKey(key), hopOf(mark)] as const);
    return { ...service, owners: new Map(owners), tags: new Map(tags) };
  } catch {
    return null;
  }
}

/** A member of a group: the kernel finds the device anew for each datagram, by its routes. */
function hopTo(text: string): NextHop | null {
  const address = parseIp(text);
  return address.ok ? { address: address.value, device: '' } : null;
}

function slotOfKey({ partition }: EdgeService, key: Key): number {
  const masked = parseIp(String(key));
  if (!masked.ok) throw new OperatingError('edge', `${String(key)} is no address`);
  return slotOf(partition, masked.value);
}

function tagOfKey(key: Key): string {
  return typeof key === 'string' ? key : key.concat.join(' . ');
}

function countersOf(nft: RunNft, table: string): EdgeCounters | null {
  try {
    const { nftables } = JSON.parse(nft(`list counters table ip ${table}`)) as Listing;
    const packets = new Map(nftables.flatMap(({ counter }) => (counter ? [[counter.name, counter.packets]] : [])));
    const count = (name: string): number => packets.get(name) ?? 0;
    return {
      forwarded: count('forwarded'),
      tagged: count('tagged'),
      errors: count('errors'),
      dropped: count('dropped'),
    };
  } catch {
    return null;
  }
}
