import type { DataPlane, DataPlaneCounters } from './data-plane.ts';
import type { ForwardingTable, ServiceEntry } from './forwarding-table.ts';
import { changeTransactions, installTransactions, removeTransaction, tableName } from './nft-ruleset.ts';

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

  return {
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
    async counters(): Promise<DataPlaneCounters> {
      const listed = JSON.parse(runNft(`list counters table netdev ${tableName(service)}`)) as CounterListing;
      const packets = new Map(
        listed.nftables.flatMap(({ counter }) => (counter ? [[counter.name, counter.packets]] : [])),
      );
      return { accepted: packets.get('accepted') ?? 0, dropped: packets.get('dropped') ?? 0 };
    },
    async remove(): Promise<void> {
      known = null;
      runNft(removeTransaction(service));
    },
  };
}

/** The part of libnftables-json(5) that lists counters. */
interface CounterListing {
  readonly nftables: readonly { readonly counter?: { readonly name: string; readonly packets: number } }[];
}
