import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { OperatingError } from '../base/operating-error.ts';
import type { LabPlan } from './plan.ts';
import { spawnOn } from './spawn-on.ts';

/** A TCP segment of the service that opens, answers or resets a connection, as it came out of a port of the switch. */
export interface CapturedSegment {
  readonly kind: 'syn' | 'syn-ack' | 'rst';
  /** Unix milliseconds, by the kernel. */
  readonly at: number;
  /** The port, named for the node at its end: who sent it. */
  readonly port: string;
  readonly client: string;
  readonly clientPort: number;
  /** The client's initial sequence number; null where the segment does not tell it. */
  readonly sequence: number | null;
}

export interface Capture {
  /** Ends the capture: all that was seen, and how many frames were missed. */
  end(): Promise<{ readonly segments: readonly CapturedSegment[]; readonly drops: number }>;
}

const program = fileURLToPath(new URL('capture-main.js', import.meta.url));

const nothingSeen: Capture = { end: async () => ({ segments: [], drops: 0 }) };

/** Watches every port of a lab's switch, and with a router the segment of the replicas alone; in group delivery there is no TCP to see. */
export async function captureAtSwitch(plan: LabPlan): Promise<Capture> {
  if (plan.delivery === 'group') return nothingSeen;
  // What a router sends on it sent a while after the client did, by which time another replica may take it.
  const askers = plan.routers.length > 0 ? plan.routers : plan.clients;
  const ports = [...plan.replicas, ...askers].map(({ name }) => name);
  const argv = [process.execPath, program, plan.service.address, ...ports];
  const child = spawnOn(plan, 'sw', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
  const segments: CapturedSegment[] = [];
  let drops: number | null = null;
  let started = (): void => {};
  const running = new Promise<void>((resolve, reject) => {
    started = resolve;
    child.once('exit', () => reject(new OperatingError('capture', 'the capture at the switch ended early')));
  });
  if (child.stdout) {
    createInterface({ input: child.stdout }).on('line', (text) => {
      const line = JSON.parse(text) as CapturedSegment | { kind: 'started' } | { kind: 'ended'; drops: number };
      if (line.kind === 'started') started();
      else if (line.kind === 'ended') drops = line.drops;
      else segments.push(line);
    });
  }
  await running;
  return {
    async end() {
      const closed = once(child, 'close');
      child.stdin?.end();
      await closed;
      if (drops === null) throw new OperatingError('capture', 'the capture at the switch ended early');
      return { segments, drops };
    },
  };
}
