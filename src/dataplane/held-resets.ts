import { ipFromBytes } from '../base/address.ts';
import { ok, type Result, refuse } from '../base/result.ts';
import type { TcpFlow } from '../base/tcp-flow.ts';
import { fnv1a } from './fnv1a.ts';
import type { ServiceEntry } from './forwarding-table.ts';

/** Resets held back to be asked about, in a second and at once; above that they leave as they would without. */
export const heldResetsPerSecond = 200;
export const heldResetsBurst = 50;
/** The longest IPv4 and TCP headers: a reset has no data. */
export const resetBytesMax = 120;

/**
 * Priority (SO_PRIORITY of socket(7)) of packets that the agent lets go: the rules that held them let them by. No mark, because others route by marks; of
 * a priority, only schedulers of the device look for a class of that name, and the rule takes it off.
 */
export const letGoPriority = { major: 0x6d63, minor: 1 } as const;

/** The NFLOG group for the resets of a service. It follows from the name, so that a later agent listens to the rules it adopts; the lower half is left to people's own numbers. */
export function resetGroupOf(name: string): number {
  return 0x8000 | (Number.parseInt(fnv1a(name), 16) & 0x7fff);
}

/** Lines of the output table for a reset that may leave: the agent has it first. */
export function heldResetLines({ resetGroup }: ServiceEntry): string[] {
  if (resetGroup === undefined) return ['chain ask { accept; }'];
  const { major, minor } = letGoPriority;
  return [
    'chain ask {',
    `  meta priority ${major.toString(16)}:${minor.toString(16)} meta priority set 0:0 accept`,
    `  limit rate ${heldResetsPerSecond}/second burst ${heldResetsBurst} packets counter name asked log group ${resetGroup} snaplen ${resetBytesMax} drop`,
    '  accept',
    '}',
  ];
}

/** The flow that a reset ends, as an IPv4 packet on its way from the service to the client. */
export function flowOfReset(packet: Uint8Array): Result<TcpFlow> {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  if (packet.length < 40 || packet[0] === undefined || packet[0] >> 4 !== 4) return refuse('no IPv4 packet');
  const header = (packet[0] & 0x0f) * 4;
  if (header < 20 || packet[9] !== 6 || packet.length < header + 20) return refuse('no TCP packet');
  if ((view.getUint8(header + 13) & 0x14) !== 0x04) return refuse('no reset without ACK');
  return ok({
    client: ipFromBytes(packet.slice(16, 20)),
    clientPort: view.getUint16(header + 2),
    servicePort: view.getUint16(header),
  });
}
