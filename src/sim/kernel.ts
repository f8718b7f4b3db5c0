import type { IpAddress } from '../base/address.ts';
import { OperatingError } from '../base/operating-error.ts';
import type { Adopted, DataPlane, Fence } from '../dataplane/data-plane.ts';
import { type Diversions, divertedBy, type FlowChange } from '../dataplane/diversions.ts';
import { createFakeDataPlane, type FakeDataPlane } from '../dataplane/fake.ts';
import { type ForwardingTable, type Row, type ServiceEntry, sameRow } from '../dataplane/forwarding-table.ts';
import type { Packet, ResetVerdict, Verdict } from '../dataplane/packet.ts';
import type { Life } from './life.ts';
import type { Timeline } from './timeline.ts';

/** How kernels fare; changes in the course of a run. */
export interface KernelFaults {
  /** Chance of a transaction, or of a lease's, to fail and change nothing. */
  failure: number;
  /** Longest transaction, milliseconds. */
  transactionMsMax: number;
  /** Chance of a transaction to take up to 125 ms instead. */
  slow: number;
}

export interface KernelWatch {
  /** Takes more than a moment ago, maybe: other rows, or a lease that has opened. */
  wider(): void;
  /** A lease has opened because its mark was armed, and not because it was granted. */
  openedByArming(): void;
}

const slowMs = 125;

/** The kernel of a host from boot to crash: it outlives agents, takes time, refuses now and then, and others meddle with its table. */
export class Kernel {
  readonly #timeline: Timeline;
  readonly #faults: KernelFaults;
  readonly #fake: FakeDataPlane;
  readonly #watch: KernelWatch;
  #standing = false;
  /** Grows with every change of a row. */
  revision = 0;

  /** `clock` is that of the kernel's own timers. */
  constructor(timeline: Timeline, faults: KernelFaults, clock: () => number, watch: KernelWatch) {
    this.#timeline = timeline;
    this.#faults = faults;
    this.#fake = createFakeDataPlane(clock);
    this.#watch = watch;
  }

  /** Without a table the frames are to a multicast MAC and not host traffic. */
  judge(packet: Packet): Verdict {
    return this.#standing ? this.#fake.judge(packet) : 'drop';
  }

  judgeReset(client: IpAddress): ResetVerdict {
    return this.#fake.judgeReset(client);
  }

  letsGo(client: IpAddress): boolean {
    return this.#fake.letsGo(client);
  }

  row(slot: number): Row | undefined {
    return this.#fake.row(slot);
  }

  isOpen(fence: Fence): boolean {
    return this.#fake.isOpen(fence);
  }

  /** Takes every new flow of the slot that reaches this host. */
  takes(slot: number): boolean {
    const kind = this.#fake.row(slot)?.kind;
    return (kind === 'own' || kind === 'new') && this.#fake.isOpen('lease');
  }

  /** Another program removes every table. */
  flush(): void {
    this.#standing = false;
    this.revision++;
    void this.#fake.remove();
  }

  /** The data plane as one process has it. */
  openFor(life: Life, service: ServiceEntry): DataPlane {
    let wanted: ForwardingTable | null = null;
    /** As with the nft adapter: after a failure the whole table is replaced, which ends the fences. */
    let isKnown = false;
    let diversions: Diversions = new Map();
    const install = async (table: ForwardingTable): Promise<boolean> => {
      const whole = !isKnown;
      isKnown = false;
      wanted = table;
      await this.#transact(life, () => {
        const anew = whole || !this.#standing;
        if (whole) void this.#fake.remove();
        isKnown = true;
        this.#commit(table);
        if (anew) void this.#fake.divert([...diversions.values()].map((flow) => ({ flow, isDiverted: true })));
      });
      return whole;
    };
    const divert = async (changes: readonly FlowChange[]): Promise<void> => {
      let refused: unknown = null;
      await this.#transact(life, () => {
        try {
          if (!this.#standing || wanted === null) throw noTable();
          diversions = divertedBy(diversions, changes);
          void this.#fake.divert(changes);
        } catch (error) {
          refused = error;
        }
      });
      if (refused !== null) throw refused;
    };
    return {
      arm: (fence, mark, ms) => this.#lease(life, () => this.#arm(fence, mark, ms)),
      grant: (fence, mark) => this.#lease(life, () => this.#fake.grant(fence, mark)),
      apply: (table) => install(table),
      divert,
      adopt: async (): Promise<Adopted | null> => {
        const adopted = this.#standing ? await this.#fake.adopt() : null;
        isKnown = adopted !== null;
        diversions = new Map();
        wanted = adopted && { service, ...adopted };
        return adopted;
      },
      seen: () => this.#transact(life, () => this.#fake.seen()).then((listed) => listed),
      repair: async (): Promise<boolean> => {
        if (wanted === null || (this.#standing && isKnown)) return false;
        await install(wanted);
        return true;
      },
      counters: () => this.#fake.counters(),
      remove: async (): Promise<void> => {
        diversions = new Map();
        life.effect(() => this.flush());
      },
    };
  }

  /** Done when it returns, unless the process loses the processor first. */
  #lease(life: Life, change: () => void): void {
    if (!this.#standing || this.#fails()) {
      this.#timeline.unsettle();
      throw noTable();
    }
    life.effect(() => {
      if (!this.#standing) return;
      const before = this.#fake.isOpen('lease');
      change();
      if (!before && this.#fake.isOpen('lease')) this.#watch.wider();
    });
  }

  #arm(fence: Fence, mark: number, ms: number): void {
    const before = this.#fake.isOpen('lease');
    this.#fake.arm(fence, mark, ms);
    if (!before && this.#fake.isOpen('lease')) this.#watch.openedByArming();
  }

  #transact<T>(life: Life, commit: () => T): Promise<T> {
    const { random } = this.#timeline;
    const ms = random.between(0, random.chance(this.#faults.slow) ? slowMs : this.#faults.transactionMsMax);
    const finish = (settle: () => void): void =>
      life.turn(() => {
        settle();
        this.#timeline.unsettle();
      });
    return new Promise((resolve, reject) => {
      const begin = (): void => {
        if (this.#fails()) {
          this.#timeline.after(ms, () => finish(() => reject(new OperatingError('nftables', 'the kernel is busy'))));
          return;
        }
        life.inKernel.add(commit);
        const done = (): void => {
          if (!life.alive) return;
          life.inKernel.delete(commit);
          const result = commit();
          finish(() => resolve(result));
        };
        // A process that is stopped meanwhile has handed its transaction to the kernel already, or has not.
        this.#timeline.after(ms, () => {
          if (life.stopped && random.chance(0.5)) life.turn(done);
          else done();
        });
      };
      life.effect(begin);
    });
  }

  #commit(table: ForwardingTable): void {
    const before = new Map<number, Row | undefined>();
    const { slotCount } = table.service.partition;
    for (let slot = 0; slot < slotCount; slot++) before.set(slot, this.#fake.row(slot));
    this.#standing = true;
    void this.#fake.apply(table);
    for (const [slot, row] of before) {
      if (sameRow(row, this.#fake.row(slot))) continue;
      this.revision++;
      break;
    }
    this.#watch.wider();
  }

  #fails(): boolean {
    return this.#faults.failure > 0 && this.#timeline.random.chance(this.#faults.failure);
  }
}

function noTable(): OperatingError {
  return new OperatingError('nftables', 'the kernel refuses: no such table, or busy');
}
