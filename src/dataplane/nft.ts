import type { DataPlane, DataPlaneCounters } from './data-plane.ts';
import type { ForwardingTable, ServiceEntry } from './forwarding-table.ts';
import {
  armTransaction,
  changeTransactions,
  grantTransaction,
  installTransactions,
  removeTransaction,
  tableName,
} from './nft-ruleset.ts';

/**
 * Runs all of `commands` in this network namespace as one atomic transaction and returns what they list, as JSON; throws an
 * OperatingError and changes nothing otherwise.
 */
export type RunNft = (commands: string) => string;

/** The Linux data plane: one nftables table for one service. */
export function createNftDataPlane(runNft: RunNft, service: ServiceEntry): DataPlane {
  /** What the kernel is known to hold; null when that must be established by replacing it whole. */
  let known: ForwardingTable | null = null;

  function run(transactions: readonly string[], next: ForwardingTable): void {
    known = null;
    for (const transaction of transactions) runNft(transaction);
    known = next;
  }

  function list(command: string): Listing['nftables'] {
    return (JSON.parse(runNft(command)) as Listing).nftables;
  }

  /** Null when there is no table. */
  function elementCount(): number | null {
    try {
      const listed = list(`list map netdev ${tableName(service)} slots`);
      return listed.flatMap((each) => each.map?.elem ?? []).length;
    } catch {
      return null;
    }
  }

  return {
    arm: (mark, leaseMs) => void runNft(armTransaction(service, mark, leaseMs)),
    grant: (mark) => void runNft(grantTransaction(service, mark)),
    async apply(table: ForwardingTable): Promise<void> {
      if (known) {
        try {
          run(changeTransactions(known, table), table);
          return;
        } catch {
          // Somebody else changed or flushed our table, and the kernel refused the whole change: say it all again.
        }
      }
      run(installTransactions(table), table);
    },
    async repair(): Promise<boolean> {
      if (!known || elementCount() === known.rows.size) return false;
      run(installTransactions(known), known);
      return true;
    },
    async counters(): Promise<DataPlaneCounters> {
      const listed = list(`list counters table netdev ${tableName(service)}`);
      const packets = new Map(listed.flatMap(({ counter }) => (counter ? [[counter.name, counter.packets]] : [])));
      return { accepted: packets.get('accepted') ?? 0, dropped: packets.get('dropped') ?? 0 };
    },
    async remove(): Promise<void> {
      known = null;
      runNft(removeTransaction(service));
    },
  };
}

/** The part of libnftables-json(5) that is read here. */
interface Listing {
  readonly nftables: readonly {
    readonly counter?: { readonly name: string; readonly packets: number };
    readonly map?: { readonly elem?: readonly unknown[] };
  }[];
}
