import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { defined } from '../base/assert.ts';
import { OperatingError } from '../base/operating-error.ts';
import { type Lab, memberFiles, plugInStranger, spawnOn } from '../lab/index.ts';
import type { ImpostorJoin } from './step-schema.ts';

/** What the program of an impostor is told. */
export interface ImpostorTask {
  readonly group: string;
  /** The address of its machine on its link. */
  readonly own: string;
  /** Of each replica its address and where its key is. */
  readonly members: Readonly<
    Record<string, { readonly address: string; readonly certificate: string; readonly key: string }>
  >;
}

/** What it is asked to send. */
export interface ImpostorWish {
  readonly join: ImpostorJoin;
  /** The replica that it claims to be. */
  readonly as: string;
}

/** Who sends joins that ought not to count. */
export interface Impostor {
  /** Resolves, when they are on the wire, with how many those were. */
  send(wish: ImpostorWish): Promise<number>;
  close(): void;
}

const program = fileURLToPath(new URL('impostor-main.js', import.meta.url));

/** Plugs in a machine among the replicas that hears their joins from now on. */
export async function openImpostor(lab: Lab): Promise<Impostor> {
  const { plan } = lab;
  plugInStranger(plan);
  const among = await startOn(lab, plan.stranger.name, plan.stranger.address);
  const programs = [among];
  const atClients = async (): Promise<Running> => {
    const [client] = plan.clients;
    const { name, address } = defined(client, 'a client machine');
    const started = programs[1] ?? (await startOn(lab, name, address));
    programs[1] = started;
    return started;
  };
  return {
    async send(wish): Promise<number> {
      const running = wish.join === 'other-link' ? await atClients() : among;
      running.child.stdin?.write(`${JSON.stringify(wish)}\n`);
      return Number(await running.line());
    },
    close(): void {
      for (const { child } of programs) child.kill();
    },
  };
}

interface Running {
  readonly child: ChildProcess;
  /** The next line that it says. */
  line(): Promise<string>;
}

async function startOn({ plan, directory }: Lab, node: string, own: string): Promise<Running> {
  const members = Object.fromEntries(
    plan.replicas.map(({ name, address }) => [name, { address, ...memberFiles(directory, name) }]),
  );
  const task: ImpostorTask = { group: plan.service.group, own, members };
  const child = spawnOn(plan, node, [process.execPath, program, JSON.stringify(task)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: defined(child.stdout, 'its output') })[Symbol.asyncIterator]();
  const line = async (): Promise<string> => {
    const said = await lines.next();
    if (said.done) throw new OperatingError('scenario', 'the impostor ended by itself');
    return said.value;
  };
  await line();
  return { child, line };
}
