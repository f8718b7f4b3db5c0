import type { Logger } from 'pino';
import { messageOf } from '../base/operating-error.ts';
import type { TcpFlow } from '../base/tcp-flow.ts';
import { flowOfReset, letGoPriority, resetBytesMax, resetGroupOf } from '../dataplane/held-resets.ts';
import type { RunNft } from '../dataplane/nft.ts';
import { openPacketLog, type PacketLog } from '../platform/packet-log.ts';
import { openRawIp, type RawIp } from '../platform/raw-ip.ts';

/** Resets that the kernel holds back until the other replicas were asked. */
export interface HeldResets {
  /** The NFLOG group that the rules are to give them to; null where they cannot be held. */
  readonly group: number | null;
  /** Why they cannot, one line; null where they can. */
  readonly problem: string | null;
  /** Sends one, if the rules let it leave still. */
  letGo(reset: Uint8Array): void;
  close(): Promise<void>;
}

/** Where nothing is held back. */
export const noResets: HeldResets = { group: null, problem: null, letGo() {}, close: async () => {} };

/** Needs the kernel's nfnetlink_log. Without it resets leave at once, as they would without an agent. */
export function openHeldResets(
  name: string,
  runNft: RunNft,
  log: Logger,
  onUnknown: (flow: TcpFlow, reset: Uint8Array) => void,
): HeldResets {
  const group = resetGroupOf(name);
  let packets: PacketLog | null = null;
  let raw: RawIp | null = null;
  try {
    raw = openRawIp(letGoPriority.major * 0x10000 + letGoPriority.minor);
    packets = openPacketLog(group, resetBytesMax, {
      onPacket(packet) {
        const flow = flowOfReset(packet);
        if (flow.ok) onUnknown(flow.value, packet);
      },
      onFailure: (error) => log.error({ err: error }, `resets are not read any more: ${messageOf(error)}`),
    });
    runNft(trial(group));
    const [reading, sending] = [packets, raw];
    return {
      ...{ group, problem: null },
      letGo: (reset) => sending.send(reset),
      async close(): Promise<void> {
        await reading.close();
        sending.close();
      },
    };
  } catch (error) {
    void packets?.close();
    raw?.close();
    const problem = messageOf(error);
    log.warn(`connections that this replica does not know are reset without asking the others: ${problem}`);
    return { ...noResets, problem };
  }
}

/** A rule set with the statement is refused whole where the kernel does not have it. */
function trial(group: number): string {
  return [
    'add table ip mc_trial',
    'add chain ip mc_trial logs',
    `add rule ip mc_trial logs log group ${group} snaplen ${resetBytesMax}`,
    'delete table ip mc_trial',
  ].join('\n');
}
