import type { IpAddress } from '../base/address.ts';
import { assert, defined } from '../base/assert.ts';
import { ok, type Result, refuse } from '../base/result.ts';
import type { Filter } from '../space/filter.ts';
import type { Partition } from '../space/partition.ts';
import type { UdpFlow } from './staying.ts';

/** One instruction of classic BPF: code, jumps when true and when false, operand. */
export type Instruction = readonly [code: number, jumpTrue: number, jumpFalse: number, operand: number];

/** BPF_MAXINSNS of <linux/bpf_common.h>. A kernel may take fewer: it charges them to the socket, up to net.core.optmem_max. */
export const instructionsMax = 4096;

/** Which datagrams a socket of one service port takes: those of `kept`, else none of `foreign`, else those of clients in `slots`. */
export interface SocketShare {
  readonly partition: Partition;
  readonly slots: ReadonlySet<number>;
  readonly kept: readonly UdpFlow[];
  readonly foreign: readonly UdpFlow[];
}

/** What every datagram is dropped by, and what none is. */
export const dropAll: readonly Instruction[] = [[0x06, 0, 0, 0]];
export const takeAll: readonly Instruction[] = [[0x06, 0, 0, 0xffff_ffff]];

const ld = { word: 0x20, halfword: 0x28 } as const;
const jump = { always: 0x05, ifEqual: 0x15, ifAtLeast: 0x35, ifAnyBit: 0x45 } as const;
const ret = 0x06;
/** SKF_NET_OFF of <linux/filter.h>, plus where the source address is in an IPv4 header (RFC 791). */
const sourceAddress = 0xfff0_0000 + 12;
/** A program on a UDP socket sees the datagram from its UDP header on: the source port comes first (RFC 768). */
const sourcePort = 0;

/**
 * The classic BPF program that takes exactly what `share` says, for SO_ATTACH_FILTER on an IPv4 socket of UDP. Whether
 * `source & mask == value` for one filter of a list is decided without the list: the bits under the masks are tested one after the other, each at most
 * once, so a datagram costs at most 16 tests however many filters there are. Refuses a share that takes more than `instructionsMax`.
 */
export function socketFilter(share: SocketShare): Result<readonly Instruction[]> {
  const { partition, kept, foreign } = share;
  assert(partition.mask.family === 4, 'sockets of IPv4 alone are filtered');
  const program = assembly();
  const drop = program.returns(0);
  const take = program.returns(0xffff_ffff);
  const bySlot = program.load(ld.word, sourceAddress, testSlots(program, share, take, drop));
  const byForeign = testFlows(program, foreign, drop, bySlot);
  testFlows(program, kept, take, byForeign);
  const instructions = program.instructions();
  return instructions.length <= instructionsMax
    ? ok(instructions)
    : refuse(`a share that takes ${instructions.length} instructions, a socket filter has at most ${instructionsMax}`);
}

/** What `share` says, as one who has no kernel to ask is told it. */
export interface ListedShare extends Pick<SocketShare, 'kept' | 'foreign'> {
  /** Of IPv4. */
  readonly filters: readonly Filter[];
}

/** The same decision without BPF: whether a datagram of that client is taken. Made once for many datagrams, as lists may be long. */
export function socketPredicate(share: ListedShare): (client: IpAddress, clientPort: number) => boolean {
  const keyOf = (client: IpAddress, port: number): string => `${client.value}:${port}`;
  const keys = (flows: readonly UdpFlow[]) => new Set(flows.map(({ client, clientPort }) => keyOf(client, clientPort)));
  const [kept, foreign] = [keys(share.kept), keys(share.foreign)];
  const byMask = new Map<bigint, Set<bigint>>();
  for (const { mask, value } of share.filters)
    byMask.set(mask.value, (byMask.get(mask.value) ?? new Set()).add(value.value));
  const masked = [...byMask];
  return (client, clientPort) => {
    if (client.family !== 4) return false;
    const key = kept.size + foreign.size === 0 ? '' : keyOf(client, clientPort);
    if (kept.has(key) || foreign.has(key)) return kept.has(key);
    return masked.some(([mask, values]) => values.has(client.value & mask));
  };
}

/** A decision diagram of the slots' bits, highest first, made from its end: what is decided alike is tested in one place (Bryant, 1986). */
function testSlots(program: Assembly, { partition, slots }: SocketShare, take: Label, drop: Label): Label {
  let decided = Array.from({ length: partition.slotCount }, (_, slot) => (slots.has(slot) ? take : drop));
  for (const bit of partition.bits) {
    const tests = new Map<string, Label>();
    const test = (whenClear: Label, whenSet: Label): Label => {
      if (whenClear === whenSet) return whenClear;
      const key = `${whenClear},${whenSet}`;
      const known = tests.get(key) ?? program.branch(jump.ifAnyBit, 2 ** bit, whenSet, whenClear);
      tests.set(key, known);
      return known;
    };
    const before = decided;
    const half = (i: number): Label => defined(before[i], 'half of the slots');
    decided = Array.from({ length: decided.length / 2 }, (_, i) => test(half(2 * i), half(2 * i + 1)));
  }
  return defined(decided[0], 'a partition has a slot');
}

/** A search tree of the flows' addresses; of the one that is found, one test for each port. */
function testFlows(program: Assembly, flows: readonly UdpFlow[], hit: Label, miss: Label): Label {
  const ports = new Map<number, number[]>();
  for (const { client, clientPort } of flows) {
    if (client.family !== 4) continue;
    const address = Number(client.value);
    ports.set(address, [...(ports.get(address) ?? []), clientPort]);
  }
  const addresses = [...ports.keys()].sort((a, b) => a - b);
  if (addresses.length === 0) return miss;

  const addressAt = (i: number): number => defined(addresses[i], 'an address of the list');
  function testPorts(address: number): Label {
    const tests = (ports.get(address) ?? []).reduce<Label>(
      (otherwise, port) => program.branch(jump.ifEqual, port, hit, otherwise),
      miss,
    );
    return program.branch(jump.ifEqual, address, program.load(ld.halfword, sourcePort, tests), miss);
  }
  function testRange(first: number, end: number): Label {
    if (end - first === 1) return testPorts(addressAt(first));
    const middle = (first + end) >> 1;
    const upper = testRange(middle, end);
    return program.branch(jump.ifAtLeast, addressAt(middle), upper, testRange(first, middle));
  }
  return program.load(ld.word, sourceAddress, testRange(0, addresses.length));
}

/** An instruction of an assembly, counted from the program's end. */
type Label = number;

/** A program that is made from its last instruction to its first: every jump goes forward, so where it goes is known when it is made. */
interface Assembly {
  returns(bytes: number): Label;
  /** A load, and what comes after it. */
  load(code: number, operand: number, next: Label): Label;
  branch(code: number, operand: number, whenTrue: Label, whenFalse: Label): Label;
  instructions(): readonly Instruction[];
}

/** Conditional jumps skip no more instructions than fit in a byte. */
const skipMax = 255;

function assembly(): Assembly {
  const reversed: Instruction[] = [];
  /** For each target that was too far away: the jump to it that was made last. */
  const steps = new Map<Label, Label>();
  const push = (...instruction: Instruction): Label => reversed.push(instruction) - 1;
  const skipTo = (target: Label): number => reversed.length - 1 - target;

  /** `target`, or a jump to it, within reach of an instruction that is made after at most one more. */
  function near(target: Label): Label {
    for (const reached of [target, steps.get(target)]) {
      if (reached !== undefined && skipTo(reached) < skipMax) return reached;
    }
    const step = push(jump.always, 0, 0, skipTo(target));
    steps.set(target, step);
    return step;
  }

  return {
    returns: (bytes) => push(ret, 0, 0, bytes),
    load(code, operand, next) {
      if (skipTo(next) > 0) push(jump.always, 0, 0, skipTo(next));
      return push(code, 0, 0, operand);
    },
    branch(code, operand, whenTrue, whenFalse) {
      const [yes, no] = [near(whenTrue), near(whenFalse)];
      return push(code, skipTo(yes), skipTo(no), operand);
    },
    instructions: () => reversed.toReversed(),
  };
}
