import { assert } from '../base/assert.ts';
import { decode, type Reader, Writer } from '../base/bytes.ts';
import type { Result } from '../base/result.ts';
import { checked, type Field, list, nodeName, oneOf, record, text, u48, type ValueOf } from './field.ts';

/** Which ledger: those of a later term are newer, within a term those of a later epoch. */
export const version = record({ term: u48, epoch: u48 });
export type Version = ValueOf<typeof version>;

export const ledgerBounds = {
  members: 256,
  slots: 65_536,
  moves: 1024,
  policyBytes: 65_535,
  causeBytes: 160,
} as const;

/**
 * Longest ledger in bytes: 65,536 slots whose owners alternate and which are all in moves (4 bytes each, twice), the
 * names, and the policy, rounded up.
 */
export const ledgerBytesMax = 704 * 1024;

/** Owner of each slot: the names, then runs of (length - 1, place of the name + 1 or 0 for nobody). */
const owners: Field<readonly (string | null)[]> = {
  read(reader: Reader, name: string): (string | null)[] {
    const names = ownerNames.read(reader, `${name}.names`);
    const runs = reader.u32(`${name}.runs`);
    const slots: (string | null)[] = [];
    for (let run = 0; run < runs; run++) {
      const length = reader.u16(name) + 1;
      const place = reader.u16(name);
      if (slots.length + length > ledgerBounds.slots) reader.refuse(`${name}: more than ${ledgerBounds.slots} slots`);
      const owner = place === 0 ? null : (names[place - 1] ?? reader.refuse(`${name}: owner ${place} has no name`));
      for (let i = 0; i < length; i++) slots.push(owner);
    }
    if (!isPowerOfTwo(slots.length)) reader.refuse(`${name}: ${slots.length} slots are no power of two`);
    return slots;
  },
  write(writer: Writer, value: readonly (string | null)[]): void {
    assert(
      isPowerOfTwo(value.length) && value.length <= ledgerBounds.slots,
      'slots are a power of two, at most 65,536',
    );
    const names = [...new Set(value)].filter((name) => name !== null);
    const place = new Map(names.map((name, index) => [name, index + 1]));
    ownerNames.write(writer, names);
    const runs = runsOf(value);
    writer.u32(runs.length);
    for (const { first, last } of runs) {
      const owner = value[first] ?? null;
      writer.u16(last - first).u16(owner === null ? 0 : (place.get(owner) ?? 0));
    }
  },
};

const ownerNames = list(ledgerBounds.members, nodeName);

/** Slots in ascending order, as ranges of first and last. */
const slots: Field<readonly number[]> = {
  read(reader: Reader, name: string): number[] {
    const ranges = reader.list(ledgerBounds.slots / 2, name, () => [reader.u16(name), reader.u16(name)] as const);
    const all: number[] = [];
    let next = 0;
    for (const [first, last] of ranges) {
      if (first < next || last < first) reader.refuse(`${name}: ranges are not ascending`);
      for (let slot = first; slot <= last; slot++) all.push(slot);
      next = last + 1;
    }
    return all;
  },
  write(writer: Writer, value: readonly number[]): void {
    writer.list(rangesOf(value), ([first, last]) => writer.u16(first).u16(last));
  },
};

const move = record({
  /** Never used again. */
  id: u48,
  /** The epoch that brought the move to this phase. */
  since: u48,
  /** `leave`: nobody takes new flows of the slots, the old owner is to confirm; `owned`: the new owner is to. */
  phase: oneOf(['leave', 'owned']),
  from: nodeName,
  to: nodeName,
  slots,
});
export type Move = ValueOf<typeof move>;

const ledger = record({
  term: u48,
  epoch: u48,
  /** The coordinator that wrote it. */
  by: nodeName,
  /** Why it was written, for people. */
  cause: text(ledgerBounds.causeBytes),
  /** Who has a share, ascending. */
  members: checked(list(ledgerBounds.members, nodeName), (names) =>
    names.every((name, i) => i === 0 || (names[i - 1] ?? '') < name) ? null : 'not ascending',
  ),
  /** Of a slot that is in a move: the old owner in phase `leave`, the new one in phase `owned`. */
  owners,
  moves: list(ledgerBounds.moves, move),
  nextMoveId: u48,
  /** Canonical text. */
  policy: text(ledgerBounds.policyBytes),
  /** The epoch that brought this policy. */
  policyEpoch: u48,
});

/** The value the agents agree on. */
export type Ledger = ValueOf<typeof ledger>;

export function encodeLedger(value: Ledger): Uint8Array {
  const writer = new Writer();
  ledger.write(writer, value);
  return writer.finish();
}

export function decodeLedger(encoded: Uint8Array): Result<Ledger> {
  return decode(encoded, (reader) => readLedger(reader));
}

/** As part of a longer value; bounds and contradictions are refused. */
export function readLedger(reader: Reader): Ledger {
  if (reader.remaining > ledgerBytesMax) reader.refuse(`ledger: more than ${ledgerBytesMax} bytes`);
  const value = ledger.read(reader, 'ledger');
  const inMoves = new Set<number>();
  for (const { id, slots } of value.moves) {
    if (id >= value.nextMoveId) reader.refuse(`moves: id ${id} is not below the next`);
    for (const slot of slots) {
      if (slot >= value.owners.length) reader.refuse(`moves: slot ${slot} does not exist`);
      if (inMoves.has(slot)) reader.refuse(`moves: slot ${slot} is in two`);
      inMoves.add(slot);
    }
  }
  return value;
}

/** Below 0 when `a` is older than `b`, 0 for the same. */
export function compareVersions(a: Version, b: Version): number {
  return a.term - b.term || a.epoch - b.epoch;
}

/** Older than every ledger. */
export const noVersion: Version = { term: 0, epoch: 0 };

export function versionOf(value: Ledger | null): Version {
  return value ? { term: value.term, epoch: value.epoch } : noVersion;
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0;
}

function runsOf(values: readonly (string | null)[]): { first: number; last: number }[] {
  const runs: { first: number; last: number }[] = [];
  for (let first = 0; first < values.length; ) {
    let last = first;
    while (last + 1 < values.length && values[last + 1] === values[first]) last++;
    runs.push({ first, last });
    first = last + 1;
  }
  return runs;
}

function rangesOf(ascending: readonly number[]): [number, number][] {
  const ranges: [number, number][] = [];
  for (const slot of ascending) {
    const open = ranges.at(-1);
    if (open && open[1] + 1 === slot) open[1] = slot;
    else ranges.push([slot, slot]);
  }
  return ranges;
}
