import type { DriverEvent } from '../agent/driver.ts';
import { type IpAddress, parseIp } from '../base/address.ts';
import { defined } from '../base/assert.ts';
import type { Control, ControlConfig } from '../control/control.ts';
import type { ServiceEntry } from '../dataplane/forwarding-table.ts';
import type { Policy } from '../policy/index.ts';
import { partitionOf } from '../space/index.ts';
import { Checkers, type Expectations } from './checkers.ts';
import { Client } from './client.ts';
import { ControlLan } from './control-lan.ts';
import { Host } from './host.ts';
import type { KernelFaults } from './kernel.ts';
import type { Scheduling } from './life.ts';
import { ServiceLan } from './service-lan.ts';
import type { Timeline } from './timeline.ts';

export interface WorldOptions {
  readonly replicas: number;
  readonly voters: number;
  readonly clients: number;
  readonly mask: string;
  readonly policy: Policy;
  readonly expect: Expectations;
  readonly createControl: (config: ControlConfig) => Control;
  /** Of the names of hosts, before their number. */
  readonly namePrefix?: string;
  /** Of each client; without it they follow each other. */
  readonly addresses?: readonly IpAddress[];
}

/** All there is in a run: hosts with their agents and kernels, two networks, clients, and those who check. */
export class World {
  readonly timeline: Timeline;
  readonly hosts: readonly Host[];
  readonly names: readonly string[];
  readonly voters: readonly string[];
  readonly lan: ServiceLan;
  readonly controlLan: ControlLan;
  readonly clients: readonly Client[];
  readonly checkers: Checkers;
  readonly firstPolicy: Policy;
  readonly createControl: WorldOptions['createControl'];
  readonly kernelFaults: KernelFaults = { failure: 0, transactionMsMax: 20, slow: 0.02 };
  readonly scheduling: Scheduling = { descheduled: 0, descheduledMsMax: 0 };
  /** How late a timer of an agent may fire. */
  readonly timers = { latenessMsMax: 5 };
  /** What an agent is given at this instant by somebody who should not be heard; null when it is not. */
  hostile: string | null = null;
  /** Nothing more is to be broken. */
  calm = false;
  /** Sees what agents tell. */
  onEvent: (host: Host, event: DriverEvent) => void = () => {};
  /** A state machine was asked since this was set to false. */
  decided = false;
  #incarnations = 1000;

  constructor(timeline: Timeline, options: WorldOptions) {
    const { replicas, voters, clients, mask, expect } = options;
    this.timeline = timeline;
    this.firstPolicy = options.policy;
    this.createControl = options.createControl;
    const service = serviceWith(mask);
    // The lan is there before those who check it.
    const watch = {
      answered: (...args: Parameters<Checkers['answered']>) => this.checkers.answered(...args),
      relayedTwice: (...args: Parameters<Checkers['relayedTwice']>) => this.checkers.relayedTwice(...args),
      oneTaker: (host: Host) => this.checkers.oneTaker(host),
      openedByArming: (host: Host) => this.checkers.openedByArming(host),
    };
    this.lan = new ServiceLan(timeline, service, watch);
    const { namePrefix = 'n', addresses } = options;
    this.hosts = Array.from(
      { length: replicas },
      (_, i) => new Host(i, `${namePrefix}${i + 1}`, timeline, this.lan, this.kernelFaults, watch),
    );
    this.lan.hosts.push(...this.hosts);
    this.names = this.hosts.map(({ name }) => name);
    this.voters = this.names.slice(0, voters);
    this.controlLan = new ControlLan(timeline, this.hosts);
    this.checkers = new Checkers(timeline, this.hosts, service.partition, expect);
    timeline.catch((error) => this.checkers.defect(error));
    this.clients = Array.from({ length: clients }, (_, i) => {
      const address = addresses?.[i] ?? { family: 4 as const, value: 0xc6336400n + BigInt(i) };
      return new Client(i, address, timeline, this.lan, this.checkers);
    });
  }

  get slotCount(): number {
    return this.lan.service.partition.slotCount;
  }

  newIncarnation(): number {
    return ++this.#incarnations;
  }

  /** What is missing for everything to be well, or null. */
  ailment(): string | null {
    const epochs = new Set<number>();
    let owners: readonly (string | null)[] = [];
    for (const { name, agent } of this.hosts) {
      if (!agent) return `${name} has no agent`;
      const view = agent.control.view();
      const { verdict, settled, epoch, cause } = view;
      if (verdict !== 'serving') return `${name} is ${verdict}: ${cause}`;
      if (!settled) return `${name} sees moves under way at epoch ${epoch}`;
      epochs.add(epoch);
      owners = view.owners;
    }
    if (epochs.size > 1) return `epochs ${[...epochs].join()}`;
    for (let slot = 0; slot < this.slotCount; slot++) {
      const taker = this.hosts.find(({ kernel }) => kernel.takes(slot))?.name ?? null;
      if (taker === null || taker !== owners[slot]) return `slot ${slot} of ${owners[slot]} is taken by ${taker}`;
    }
    return null;
  }

  /** What must not change while nothing happens. */
  standing(): string {
    const slots = Array.from({ length: this.slotCount }, (_, slot) => slot);
    const takers = slots.map((slot) => this.hosts.find(({ kernel }) => kernel.takes(slot))?.name ?? null);
    return `slots taken by ${takers.join(' ')}`;
  }
}

function serviceWith(maskText: string): ServiceEntry {
  const mask = parseIp(maskText);
  const partition = mask.ok ? partitionOf(mask.value) : mask;
  return {
    name: 'sim',
    address: { family: 4, value: 0xcb00710an },
    ports: [{ protocol: 'tcp', port: 80 }],
    partition: defined(partition.ok ? partition.value : null, `a partition by ${maskText}`),
    device: 'eth0',
    ownMac: '02:00:00:00:00:00',
    groupMac: '01:00:5e:4d:00:0a',
    resetGroup: 1,
  };
}
