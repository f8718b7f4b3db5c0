import { chownSync, mkdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import { flowKey, type TcpFlow } from '../base/tcp-flow.ts';
import {
  type ApplicationMessage,
  datagramVersion,
  decodeApplicationMessage,
  encodeAgentMessage,
  lineReader,
  protocolVersion,
} from '../sdk/message.ts';
import { DatagramApplication, type DatagramShares } from './datagram-application.ts';
import { type Adopted, type Frozen, type FrozenConnection, type Kept, SdkApplication } from './sdk-application.ts';

/** Applications at the same time, and as many connections that have not said which. */
const connectionsMax = 128;
const helloMs = 5000;
/** An answer takes an application at most half a second of waiting; the rest is for one that is busy. */
const answerMsDefault = 2000;

/** The agent's end of docs/sdk-protocol.md, for all applications of this host. */
export interface SdkEndpoint {
  /**
   * Has queues of connections that are to be stopped soon run short; resolves when that is as far as it gets, to those on which so much comes or goes that they should go alone:
   * nothing was done to them.
   */
  calm(flows: readonly TcpFlow[]): Promise<readonly TcpFlow[]>;
  /**
   * Stops connections in their applications, in the order of `flows`; those of no application are refused as 'unknown'. The other machine should
   * hold their packets by then, but nothing need be cut: what was written before may still be sent and confirmed. Each of them ends by `moved` or `thaw`.
   */
  freeze(flows: readonly TcpFlow[]): Promise<Frozen[]>;
  /** The application forgets a connection. Its socket must be in repair mode, so that closing it says nothing to the client. False when the application is gone. */
  moved(flow: TcpFlow): boolean;
  /** The connection goes on, out of repair mode again. False when the application is gone. */
  thaw(flow: TcpFlow): boolean;
  /** Gives a connection to an application that serves its port; the caller's descriptor stays the caller's. Ends by `go` or `drop`. */
  adopt(connection: FrozenConnection & { readonly flow: TcpFlow }): Promise<Adopted>;
  /** The socket is out of repair mode: the application reads and writes. False when it is gone. */
  go(flow: TcpFlow): boolean;
  drop(flow: TcpFlow): boolean;
  /** Now is a convenient point: applications end these connections when their transactions are done. */
  finish(flows: readonly TcpFlow[]): void;
  /** Ports that applications serve. */
  ports(): number[];
  close(): Promise<void>;
}

export interface SdkEndpointOptions {
  /** The name of this replica, which applications are told. */
  readonly node: string;
  /** Members of this group may connect, besides the agent's user. By default that of the agent. */
  readonly groupId?: number;
  readonly answerMs?: number;
  /** For sockets that take datagrams. By default they take whatever comes. */
  readonly datagrams?: Omit<DatagramShares, 'onComplaint'>;
  /** One line about each application that is refused or cut off. */
  readonly onComplaint?: (reason: string) => void;
}

/** Listens on `path`, which the agent's user and one group may open (mode 0660). Throws an OperatingError when it cannot. */
export async function openSdkEndpoint(path: string, options: SdkEndpointOptions): Promise<SdkEndpoint> {
  const applications = new Applications();
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    if (sockets.size >= connectionsMax) {
      socket.destroy();
      options.onComplaint?.(`sdk: more than ${connectionsMax} connections`);
      return;
    }
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    serve(socket, applications, options);
  });
  await listen(server, path, options.groupId);
  return {
    calm: (flows) => applications.calm(flows),
    freeze: (flows) => applications.freeze(flows),
    adopt: (connection) => applications.adopt(connection),
    moved: (flow) => applications.settle('moved', flow),
    thaw: (flow) => applications.settle('thaw', flow),
    go: (flow) => applications.settle('go', flow),
    drop: (flow) => applications.settle('drop', flow),
    finish: (flows) => applications.finish(flows),
    ports: () => applications.ports(),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

type Application = SdkApplication | DatagramApplication;

/** Those that have said hello, and whose connections stand still. */
class Applications {
  readonly #all = new Set<SdkApplication>();
  readonly #ofDatagrams = new Set<DatagramApplication>();
  /** Who has a connection that stands still. */
  readonly #standing = new Map<string, SdkApplication>();

  add(application: Application): void {
    if (application instanceof SdkApplication) this.#all.add(application);
    else this.#ofDatagrams.add(application);
  }

  ofToken(token: string): Application | undefined {
    return [...this.#all, ...this.#ofDatagrams].find((each) => each.token === token);
  }

  ports(): number[] {
    return [...new Set([...this.#all].flatMap((each) => each.ports()))].sort((a, b) => a - b);
  }

  /** Whichever has the connection heeds it. */
  finish(flows: readonly TcpFlow[]): void {
    for (const flow of flows)
      for (const each of this.#serving(flow.servicePort)) each.say({ type: 'finish', flows: [flow] });
  }

  /** It has ended. */
  forget(application: Application): void {
    if (application instanceof DatagramApplication) this.#ofDatagrams.delete(application);
    else this.#all.delete(application);
    for (const [key, each] of this.#standing) if (each === application) this.#standing.delete(key);
  }

  async calm(flows: readonly TcpFlow[]): Promise<readonly TcpFlow[]> {
    const serving = new Set(flows.flatMap(({ servicePort }) => this.#serving(servicePort)));
    return (await Promise.all([...serving].map((application) => application.calm(flows)))).flat();
  }

  async freeze(flows: readonly TcpFlow[]): Promise<Frozen[]> {
    const candidates = flows.map((flow) => this.#serving(flow.servicePort));
    const firsts = new Map<TcpFlow, Promise<Frozen>>();
    for (const application of new Set(candidates.flatMap((each) => each.slice(0, 1)))) {
      const asked = flows.filter((_flow, i) => candidates[i]?.[0] === application);
      for (const [i, outcome] of application.freeze(asked).entries()) {
        const flow = asked[i];
        if (flow) firsts.set(flow, outcome);
      }
    }
    return Promise.all(
      flows.map((flow, i) =>
        this.#freezeOne(flow, candidates[i] ?? [], firsts.get(flow) ?? Promise.resolve(unserved(flow))),
      ),
    );
  }

  async adopt(connection: FrozenConnection & { readonly flow: TcpFlow }): Promise<Adopted> {
    const { flow } = connection;
    let outcome: Adopted = unserved(flow);
    for (const application of this.#serving(flow.servicePort)) {
      outcome = await application.adopt(flow, connection);
      if (outcome.ok) this.#standing.set(flowKey(flow), application);
      if (outcome.ok) break;
    }
    return outcome;
  }

  /** False when the application is gone. */
  settle(type: 'moved' | 'thaw' | 'go' | 'drop', flow: TcpFlow): boolean {
    const application = this.#standing.get(flowKey(flow));
    this.#standing.delete(flowKey(flow));
    application?.say({ type, flow });
    return application !== undefined && this.#all.has(application);
  }

  #serving(port: number): SdkApplication[] {
    return [...this.#all].filter((each) => each.ports().includes(port));
  }

  /** Several processes may serve one port: whoever has the connection says so. */
  async #freezeOne(flow: TcpFlow, candidates: readonly SdkApplication[], first: Promise<Frozen>): Promise<Frozen> {
    let outcome = await first;
    let asked = 0;
    while (!outcome.ok && outcome.code === 'unknown' && ++asked < candidates.length) {
      outcome = (await candidates[asked]?.freeze([flow])[0]) ?? outcome;
    }
    const application = candidates[asked];
    if (outcome.ok && application && this.#all.has(application)) {
      this.#standing.set(flowKey(flow), application);
    }
    return outcome;
  }
}

function unserved({ servicePort }: TcpFlow): Kept {
  return { ok: false, code: 'unknown', reason: `no application with the SDK serves port ${servicePort}` };
}

/** The first line says what a connection is: an application, or the second connection of one. */
function serve(socket: Socket, applications: Applications, options: SdkEndpointOptions): void {
  let application: Application | null = null;
  const late = setTimeout(() => refuse(`no hello for ${helloMs} ms`), helloMs);

  function refuse(reason: string): void {
    options.onComplaint?.(`sdk: ${reason}`);
    if (socket.destroyed) return;
    socket.write(encodeAgentMessage({ type: 'error', reason }));
    socket.destroySoon();
  }

  const read = lineReader((line) => {
    if (socket.destroyed || socket.writableEnded) return;
    const decoded = decodeApplicationMessage(line);
    if (!decoded.ok) return refuse(decoded.reason);
    const message = decoded.value;
    if (application) return application.hear(message);
    clearTimeout(late);
    if (message.type === 'descriptors') return join(message.token);
    if (message.type !== 'hello' && message.type !== 'datagrams') return refuse(`"${message.type}" before hello`);
    const spoken = message.type === 'hello' ? protocolVersion : datagramVersion;
    if (message.version !== spoken) return refuse(`version ${message.version}, spoken here is ${spoken}`);
    application = begin(socket, message, options);
    applications.add(application);
    application.say({ type: 'welcome', version: spoken, node: options.node, token: application.token });
  });

  function join(token: string): void {
    const joined = applications.ofToken(token);
    try {
      if (joined) joined.join(socket);
      else refuse('no application has that token');
    } catch (error) {
      // It tries again, with two new connections.
      joined?.end();
      refuse(messageOf(error));
    }
  }

  socket.on('data', (chunk) => {
    if (!read(chunk) && !socket.writableEnded) refuse('a line is too long');
  });
  socket.on('error', () => {});
  socket.once('close', () => {
    clearTimeout(late);
    if (!application) return;
    applications.forget(application);
    application.end();
  });
}

/** In deliveries where the kernel's table splits. */
const unshared: NonNullable<SdkEndpointOptions['datagrams']> = { plane: null, ports: new Map(), onPassed() {} };

function begin(
  socket: Socket,
  hello: Extract<ApplicationMessage, { version: number }>,
  { answerMs = answerMsDefault, datagrams, onComplaint = () => {} }: SdkEndpointOptions,
): Application {
  if (hello.type === 'hello') return new SdkApplication(socket, hello.ports, answerMs);
  return new DatagramApplication(socket, { ...(datagrams ?? unshared), onComplaint }, answerMs);
}

async function listen(server: Server, path: string, groupId: number | undefined): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  if (await answers(path)) {
    throw new OperatingError('socket', `sdk: another agent answers on ${path}`, { remedy: 'stop it first' });
  }
  rmSync(path, { force: true });
  // The mask, and not a later chmod: there is no instant at which others may connect.
  const before = process.umask(0o117);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
    if (groupId !== undefined) chownSync(path, -1, groupId);
  } catch (cause) {
    server.close();
    throw new OperatingError('socket', `sdk: cannot listen on ${path}: ${messageOf(cause)}`, { cause });
  } finally {
    process.umask(before);
  }
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path, () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}
