import { formatIp, type IpAddress, widthOf } from '../base/address.ts';
import { ok, type Result, refuse } from '../base/result.ts';

/** More slots than this are refused: 65,536 slots already split a /16 of clients one by one. */
export const slotBitsMax = 16;

/**
 * How the client address space is cut into slots: the source-address bits under `mask`, read as a number, are the slot.
 * The bits may be any, not only the lowest and not only contiguous (figure 10).
 */
export interface Partition {
  readonly mask: IpAddress;
  /** Bit positions under the mask, lowest first: bit i of a slot stands at position `bits[i]` of the address. */
  readonly bits: readonly number[];
  readonly slotCount: number;
}

/** A partition by 0 to 16 mask bits; no bits at all make one slot. */
export function partitionOf(mask: IpAddress): Result<Partition> {
  const bits = Array.from({ length: widthOf(mask.family) }, (_, bit) => bit).filter(
    (bit) => (mask.value >> BigInt(bit)) & 1n,
  );
  if (bits.length > slotBitsMax) {
    return refuse(`partition mask ${formatIp(mask)} has ${bits.length} bits, allowed are 0 to ${slotBitsMax}`);
  }
  return ok({ mask, bits, slotCount: 1 << bits.length });
}

/** The slot of a client address of the partition's family. */
export function slotOf(partition: Partition, client: IpAddress): number {
  let slot = 0;
  const { bits } = partition;
  if (client.family === 4) {
    const value = Number(client.value);
    for (let i = 0; i < bits.length; i++) slot |= ((value >>> (bits[i] ?? 0)) & 1) << i;
  } else {
    for (const [i, bit] of bits.entries()) if ((client.value >> BigInt(bit)) & 1n) slot |= 1 << i;
  }
  return slot;
}

/** What the masked source address of every client of `slot` equals. */
export function maskedAddressOf(partition: Partition, slot: number): IpAddress {
  let value = 0n;
  for (const [i, bit] of partition.bits.entries()) {
    if ((slot >> i) & 1) value |= 1n << BigInt(bit);
  }
  return { family: partition.mask.family, value };
}
