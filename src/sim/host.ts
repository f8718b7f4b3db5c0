import type { Driver } from '../agent/driver.ts';
import type { MacAddress } from '../base/mac.ts';
import type { Control } from '../control/control.ts';
import { Kernel, type KernelFaults } from './kernel.ts';
import type { Life } from './life.ts';
import type { ServiceLan } from './service-lan.ts';
import { TcpStack } from './tcp-stack.ts';
import type { Timeline } from './timeline.ts';

/** An agent that runs on a host. */
export interface Agent {
  readonly life: Life;
  readonly session: number;
  readonly control: Control;
  readonly driver: Driver;
}

/** What the checkers want to know of a host's kernel. */
export interface HostWatch {
  oneTaker(wider: Host): void;
  openedByArming(host: Host): void;
}

/** Clocks of one machine run at rates of their own, this far from true time. */
const driftMax = 0.02;
/** A host that answers nobody for this long may be taken for gone. */
const awayMs = 1000;

/** A machine: what survives a crash (disk, name, address) and what does not (kernel, connections, agent). */
export class Host {
  readonly index: number;
  readonly name: string;
  readonly mac: MacAddress;
  readonly disk = new Map<string, Uint8Array>();
  readonly #timeline: Timeline;
  readonly #lan: ServiceLan;
  readonly #faults: KernelFaults;
  readonly #watch: HostWatch;
  /** Grows with every start of the machine; connections belong to one. */
  boot = 0;
  up = false;
  /** When the cable was pulled; null while it is in its place. */
  #cutSince: number | null = null;
  /** When it was last plugged in, with an agent to notice, after others may have taken the host for gone. */
  #wasAwayUntil = Number.NEGATIVE_INFINITY;
  /** Plugged in again, and no agent there yet that could learn what has become of its slots. */
  #isUnaware = false;
  /** When its agent was asked to leave; null while it is not. */
  leavingSince: number | null = null;
  /** When an agent last ended its connections because it left and had nobody to hand anything to. */
  abandonedAt = Number.NEGATIVE_INFINITY;
  /** Has lost its disk. */
  forgetful = false;
  /** The process that runs the agent, also before the agent is there. */
  life: Life | null = null;
  agent: Agent | null = null;
  kernel: Kernel;
  stack: TcpStack;
  #clockOffset = 0;
  #clockRate = 1;

  constructor(
    index: number,
    name: string,
    timeline: Timeline,
    lan: ServiceLan,
    faults: KernelFaults,
    watch: HostWatch,
  ) {
    this.index = index;
    this.name = name;
    this.mac = macOf(index);
    this.#timeline = timeline;
    this.#lan = lan;
    this.#faults = faults;
    this.#watch = watch;
    this.kernel = this.#newKernel();
    this.stack = new TcpStack(this, lan, timeline);
  }

  /** What CLOCK_MONOTONIC says here at a true time, milliseconds. */
  clockAt(trueMs: number): number {
    return this.#clockOffset + trueMs * this.#clockRate;
  }

  /** The first true time at which the clock here says `clockMs`, or more by rounding. */
  trueTimeOf(clockMs: number): number {
    return (clockMs - this.#clockOffset) / this.#clockRate + 0.001;
  }

  get cut(): boolean {
    return this.#cutSince !== null;
  }

  pullCable(): void {
    this.#cutSince ??= this.#timeline.now;
  }

  plugCable(): void {
    if (this.#wasAway()) this.#isUnaware = true;
    this.#cutSince = null;
    if (this.agent) this.#takeNotice();
  }

  /** An agent runs here from now on. */
  run(agent: Agent): void {
    this.agent = agent;
    if (!this.cut) this.#takeNotice();
  }

  #takeNotice(): void {
    if (this.#isUnaware) this.#wasAwayUntil = this.#timeline.now;
    this.#isUnaware = false;
  }

  /** Others may have taken it for gone, with its connections, at some time since then. */
  awaySince(trueMs: number): boolean {
    return this.#wasAway() || this.#isUnaware || this.#wasAwayUntil >= trueMs;
  }

  #wasAway(): boolean {
    return this.#cutSince !== null && this.#timeline.now - this.#cutSince >= awayMs;
  }

  start(): void {
    if (this.up) return;
    const { random } = this.#timeline;
    this.up = true;
    this.boot++;
    this.#clockRate = 1 + random.between(-driftMax, driftMax);
    // Clocks of several boots and machines have nothing in common, and do not step back in one.
    this.#clockOffset = random.between(1000, 100_000) - this.#timeline.now * this.#clockRate;
    this.kernel = this.#newKernel();
  }

  /** The agent is no more; kernel and connections go on. */
  kill(): void {
    this.leavingSince = null;
    this.life?.kill();
    this.agent?.driver.stop();
    this.life = null;
    this.agent = null;
  }

  crash(): void {
    this.kill();
    this.up = false;
    this.forget();
  }

  /** Its connections are gone, and its kernel's table: it is another host from now on for whoever was connected. */
  forget(): void {
    this.boot++;
    this.#isUnaware = false;
    this.kernel = this.#newKernel();
    this.stack = new TcpStack(this, this.#lan, this.#timeline);
  }

  #newKernel(): Kernel {
    const rate = 1 + this.#timeline.random.between(-driftMax, driftMax);
    const timeline = this.#timeline;
    return new Kernel(timeline, this.#faults, () => timeline.now * rate, {
      wider: () => this.#watch.oneTaker(this),
      openedByArming: () => this.#watch.openedByArming(this),
    });
  }
}

export function macOf(index: number): MacAddress {
  return `02:00:00:00:00:${(index + 1).toString(16).padStart(2, '0')}`;
}
