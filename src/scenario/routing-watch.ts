import { setTimeout as delay } from 'node:timers/promises';
import type { Lab, ReplicaStatus } from '../lab/index.ts';
import { askAgentOnce } from '../platform/agent-client.ts';
import type { RefusalReason } from '../router/join-checks.ts';
import { type Partition, parseSlots } from '../space/index.ts';
import type { RoutingRecord } from './routing.ts';

/** The part of `manycast router status --json` that is looked at. */
interface RouterSeen {
  readonly services: readonly {
    readonly members: readonly { readonly name: string; readonly slots: string; readonly epoch: number }[];
    readonly tags: number;
  }[];
  readonly refused: Readonly<Partial<Record<RefusalReason, number>>>;
}

type Share = Pick<ReplicaStatus['owners'][number], 'name' | 'slots'>;

/** What the routers of a lab say of themselves while a timeline runs. */
export interface RoutingWatch {
  /** Notes what came of `send`, which says how many joins of impostors it sent: resolves when every router that answers has judged them, or after 3 s. */
  judged(send: () => Promise<number>): Promise<void>;
  /** Ends it. `shares`: who owns what, as the agents say. */
  end(shares: readonly Share[]): Promise<RoutingRecord>;
  close(): void;
}

const lookMs = 200;
const judgeMsMax = 3000;
const judgePollMs = 100;

export async function watchRouting(lab: Lab, partition: Partition): Promise<RoutingWatch> {
  const routers = lab.plan.routers.map(({ name }) => new RouterWatch(lab, name, partition));
  let looking: Promise<unknown> = Promise.resolve();
  // One look after the other: a router that is slow to answer must not be asked ever more.
  const lookAtAll = (): Promise<unknown> => {
    looking = looking.then(() => Promise.all(routers.map((each) => each.look())));
    return looking;
  };
  const total = (): number => routers.reduce((sum, each) => sum + each.refusedTotal, 0);
  await lookAtAll();
  let timer = setTimeout(lookOften, lookMs);
  function lookOften(): void {
    void lookAtAll().then(() => {
      if (!isOver) timer = setTimeout(lookOften, lookMs);
    });
  }
  const close = (): void => {
    isOver = true;
    clearTimeout(timer);
  };
  let isOver = false;
  let impostorJoins = 0;
  let slotsTaken = 0;
  return {
    async judged(send): Promise<void> {
      await lookAtAll();
      const before = routers.map(({ owners }) => owners);
      const refusedBefore = total();
      const sent = await send();
      impostorJoins += sent;
      const answering = routers.filter(({ answers }) => answers).length;
      const until = performance.now() + judgeMsMax;
      do {
        await delay(judgePollMs);
        await lookAtAll();
      } while (total() < refusedBefore + sent * answering && performance.now() < until);
      slotsTaken += routers.reduce((sum, { owners }, i) => sum + differing(owners, before[i] ?? []), 0);
    },
    async end(shares): Promise<RoutingRecord> {
      close();
      await lookAtAll();
      const wanted = ownersOf(shares, partition, (name) => name);
      const refused: Partial<Record<RefusalReason, number>> = {};
      for (const router of routers) {
        for (const [reason, count] of router.refused) refused[reason] = (refused[reason] ?? 0) + count;
      }
      const answering = routers.filter(({ answers }) => answers);
      return {
        ...{ refused, impostorJoins, slotsTaken },
        slotsAstray: answering.reduce((sum, { owners }) => sum + differing(owners, wanted), 0),
        tagsMost: Math.max(0, ...routers.map(({ tagsMost }) => tagsMost)),
        tagsLeft: answering.reduce((sum, { tags }) => sum + tags, 0),
      };
    },
    close,
  };
}

/** Of each slot who has it; null for nobody. */
type SlotOwners = readonly (string | null)[];

/** One router, through all lives of its daemon. */
class RouterWatch {
  answers = false;
  owners: SlotOwners = [];
  tags = 0;
  tagsMost = 0;
  /** Since the first look. */
  readonly refused = new Map<RefusalReason, number>();
  readonly #lab: Lab;
  readonly #name: string;
  readonly #partition: Partition;
  /** What it counted when it was looked at last; null before. */
  #counts: RouterSeen['refused'] | null = null;

  constructor(lab: Lab, name: string, partition: Partition) {
    this.#lab = lab;
    this.#name = name;
    this.#partition = partition;
  }

  get refusedTotal(): number {
    return [...this.refused.values()].reduce((sum, count) => sum + count, 0);
  }

  async look(): Promise<void> {
    const socket = this.#lab.routerSocketOf(this.#name);
    const seen = await askAgentOnce<RouterSeen>(socket, 'GET', '/v1/router').catch(() => null);
    this.answers = seen !== null;
    if (!seen) return;
    const { replicas } = this.#lab.plan;
    // In a public group members are known by their addresses.
    const nameOf = (member: string): string => replicas.find(({ address }) => address === member)?.name ?? member;
    // Of several that claim a slot the newest epoch goes before the others.
    const members = seen.services.flatMap((service) => service.members).sort((a, b) => a.epoch - b.epoch);
    this.owners = ownersOf(members, this.#partition, nameOf);
    this.tags = seen.services.reduce((sum, { tags }) => sum + tags, 0);
    this.tagsMost = Math.max(this.tagsMost, this.tags);
    this.#count(seen.refused);
  }

  #count(counts: RouterSeen['refused']): void {
    const last = this.#counts ?? counts;
    this.#counts = counts;
    for (const [key, count] of Object.entries(counts)) {
      const reason = key as RefusalReason;
      const before = last[reason] ?? 0;
      // A daemon that starts again counts from 0.
      const more = count >= before ? count - before : count;
      this.refused.set(reason, (this.refused.get(reason) ?? 0) + more);
    }
  }
}

function ownersOf(shares: readonly Share[], partition: Partition, nameOf: (name: string) => string): SlotOwners {
  const owners: (string | null)[] = Array(partition.slotCount).fill(null);
  for (const { name, slots } of shares) {
    const parsed = parseSlots(slots, partition.slotCount);
    for (const slot of parsed.ok ? parsed.value : []) owners[slot] = nameOf(name);
  }
  return owners;
}

function differing(one: SlotOwners, other: SlotOwners): number {
  return one.filter((owner, slot) => owner !== other[slot]).length;
}
