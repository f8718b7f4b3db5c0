import { assert } from '../base/assert.ts';
import { decode, type Reader, Writer } from '../base/bytes.ts';
import type { Result } from '../base/result.ts';
import { checked, type Field, flag, list, mac, nodeName, oneOf, record, text, u48, type ValueOf } from './field.ts';

/** Which ledger: those of a later term are newer, within a term those of a later epoch. */
export const version = record({ term: u48, epoch: u48 });
export type Version = ValueOf<typeof version>;

export const ledgerBounds = {
  members: 256,
  slots: 65_536,
  moves: 1024,
  /** Entries of holders, and slots in all of them together. */
  holders: 1024,
  heldSlots: 131_072,
  policyBytes: 65_535,
  causeBytes: 160,
} as const;

/**
 * Longest ledger in bytes: 65,536 slots whose owners alternate and which are all in moves (4 bytes each, twice), as many slots as may be held, none of them
 * beside another (4 bytes each), the names, and the policy, rounded up.
 */
export const ledgerBytesMax = 1280 * 1024;

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
export const slots: Field<readonly number[]> = {
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
  /**
   * `prepare`: the new owner is to relay SYNs to the old one, and both are to confirm; `leave`: the old owner takes relayed SYNs only, and is to confirm; `owned`:
   * the new owner takes them itself, and is to confirm.
   */
  phase: oneOf(['prepare', 'leave', 'owned']),
  from: nodeName,
  to: nodeName,
  slots,
});
export type Move = ValueOf<typeof move>;

/** One life of a machine: another boot of the same name holds nothing of what this one held. */
const host = record({
  name: nodeName,
  /** The life of its agent that said so: what an earlier one said, sent again by somebody, is of the past. */
  session: u48,
  boot: u48,
  /** Link address of the device that carries the service. */
  mac,
});
export type Host = ValueOf<typeof host>;

/** A host that may still hold flows of slots that it does not own any more. */
const holder = record({
  name: nodeName,
  boot: u48,
  /** The epoch in which it gave them away. */
  since: u48,
  slots,
});
export type Holder = ValueOf<typeof holder>;

/** Names of agents, ascending. */
const names = checked(list(ledgerBounds.members, nodeName), (all) =>
  all.every((name, i) => i === 0 || (all[i - 1] ?? '') < name) ? null : 'not ascending',
);

/** Voters are few: each change waits for most of them. */
export const votersMax = 7;

const voter = record({
  name: nodeName,
  /** Another one under the same name has forgotten what this one promised. */
  incarnation: u48,
});
export type Voter = ValueOf<typeof voter>;

export const voterList = checked(list(votersMax, voter), (all) =>
  all.every(({ name }, i) => i === 0 || (all[i - 1]?.name ?? '') < name) ? null : 'not ascending',
);

const ledger = record({
  term: u48,
  epoch: u48,
  /** The coordinator that wrote it. */
  by: nodeName,
  /** Why it was written, for people. */
  cause: text(ledgerBounds.causeBytes),
  voters: voterList,
  /** Who voted before this ledger changed it, and commits it; empty when it does not. */
  formerVoters: voterList,
  /** Who may have a share. */
  members: names,
  /** Members whose server does not answer: they get a share only when that is so of all. */
  unhealthy: names,
  /** Members that a person has asked to have no share. */
  drained: names,
  /** Whoever is named in this ledger, ascending. */
  hosts: checked(list(ledgerBounds.holders, host), (hosts) =>
    hosts.every(({ name }, i) => i === 0 || (hosts[i - 1]?.name ?? '') < name) ? null : 'not ascending',
  ),
  /** Of a slot that is in a move: the old owner until phase `owned`, from then on the new one. */
  owners,
  moves: list(ledgerBounds.moves, move),
  holders: list(ledgerBounds.holders, holder),
  nextMoveId: u48,
  /** The policy wants more moves than are under way: they begin when these are done. */
  unfinished: flag,
  /** Canonical text. */
  policy: text(ledgerBounds.policyBytes),
  /** The epoch that brought this policy. */
  policyEpoch: u48,
});

/** The value the agents agree on. */
export type Ledger = ValueOf<typeof ledger>;

/** A ledger is sent to others, and stored whenever a vote is. */
const encoded = new WeakMap<Ledger, Uint8Array>();

export function encodeLedger(value: Ledger): Uint8Array {
  const known = encoded.get(value);
  if (known) return known;
  const writer = new Writer();
  ledger.write(writer, value);
  const bytes = writer.finish();
  encoded.set(value, bytes);
  return bytes;
}

/** The bytes go with the value: it is sent on, and stored, as it came. Nobody may change them any more. */
export function decodeLedger(bytes: Uint8Array): Result<Ledger> {
  const read = decode(bytes, (reader) => readLedger(reader));
  if (read.ok) encoded.set(read.value, bytes);
  return read;
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
  let held = 0;
  for (const { slots } of value.holders) {
    held += slots.length;
    if (slots.some((slot) => slot >= value.owners.length)) reader.refuse('holders: a slot does not exist');
  }
  if (held > ledgerBounds.heldSlots) reader.refuse(`holders: more than ${ledgerBounds.heldSlots} slots`);
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
