import type { RemoteInfo } from 'node:dgram';
import { formatIp, parseIp } from '../base/address.ts';
import { messageOf } from '../base/operating-error.ts';
import { type DatagramClient, type DatagramSession, sessionBytesMax } from './message.ts';

/** One end of a session: the address and port that a client sends from. */
export type ClientEnd = Pick<RemoteInfo, 'address' | 'port'>;

/** What an application gives so that its sessions, each with a state of its own, can move to another machine. */
export interface SessionHooks {
  /** The state of the session with a client, at most 32 KiB, as of now; null, or throwing, where there is none, or it is to stay. */
  exportState(client: ClientEnd): Uint8Array | null;
  /** A session goes on here with the state that `exportState` gave elsewhere: called before the first 'message' of that client. */
  importState(client: ClientEnd, state: Buffer): void;
}

/** Datagrams of a session that stands still; a client that sends more sends them again. */
const heldMax = 64;
/** Sessions that came and of which no datagram has come yet. */
const arrivedMax = 65_536;

type Held = { readonly message: Buffer; readonly from: RemoteInfo };

export interface SessionPorts {
  /** Hands the application a datagram, as if it came from the network. */
  deliver(message: Buffer, from: RemoteInfo): void;
  /** To the host that has the session now. */
  pass(client: DatagramClient, message: Buffer): void;
}

/** The sessions of one socket that come, stand still, or have gone. */
export class DatagramSessions {
  readonly #hooks: SessionHooks;
  readonly #ports: SessionPorts;
  readonly #arrived = new Map<string, Uint8Array>();
  readonly #standing = new Map<string, Held[]>();
  /** Their datagrams come here until the kernels know better. */
  readonly #gone = new Map<string, DatagramClient>();

  constructor(hooks: SessionHooks, ports: SessionPorts) {
    this.#hooks = hooks;
    this.#ports = ports;
  }

  /** True of a datagram that the application is not to have, at least not now. Otherwise its session has begun. */
  withholds(message: Buffer, from: RemoteInfo): boolean {
    const key = `${from.address}:${from.port}`;
    const standing = this.#standing.get(key);
    if (standing && standing.length < heldMax) standing.push({ message, from });
    const gone = this.#gone.get(key);
    if (gone) this.#ports.pass(gone, message);
    if (standing || gone) return true;
    this.#begin(key, from);
    return false;
  }

  hasGone(client: DatagramClient): boolean {
    return this.#gone.has(keyOf(client));
  }

  /** Those that can move stand still from now on. */
  export(clients: readonly DatagramClient[]): DatagramSession[] {
    return clients.flatMap((client) => {
      const state = this.#standing.has(keyOf(client)) ? null : this.#exported(client);
      if (state === null) return [];
      this.#standing.set(keyOf(client), []);
      return [{ ...client, state }];
    });
  }

  gone(clients: readonly DatagramClient[]): void {
    for (const client of clients) {
      const held = this.#standing.get(keyOf(client)) ?? [];
      this.#standing.delete(keyOf(client));
      this.#gone.set(keyOf(client), client);
      for (const { message } of held) this.#ports.pass(client, message);
    }
  }

  stay(clients: Iterable<DatagramClient>): void {
    for (const client of clients) this.#goOn(keyOf(client));
  }

  import(sessions: readonly DatagramSession[]): boolean {
    if (this.#arrived.size + sessions.length > arrivedMax) return false;
    for (const session of sessions) {
      this.#gone.delete(keyOf(session));
      this.#arrived.set(keyOf(session), session.state);
    }
    return true;
  }

  withdraw(clients: readonly DatagramClient[]): void {
    for (const client of clients) this.#arrived.delete(keyOf(client));
  }

  /** Only of `kept` the kernel here takes any more datagrams that are another's by now. */
  follow(kept: readonly DatagramClient[]): void {
    const keys = new Set(kept.map(keyOf));
    for (const key of this.#gone.keys()) if (!keys.has(key)) this.#gone.delete(key);
  }

  /** The agent is gone: what stands still goes on. */
  abandon(): void {
    for (const key of [...this.#standing.keys()]) this.#goOn(key);
  }

  #begin(key: string, { address, port }: ClientEnd): void {
    const state = this.#arrived.get(key);
    if (!state) return;
    this.#arrived.delete(key);
    try {
      this.#hooks.importState({ address, port }, Buffer.from(state));
    } catch (error) {
      process.emitWarning(`a session begins anew, its state was refused: ${messageOf(error)}`, 'ManycastWarning');
    }
  }

  #exported({ client, clientPort }: DatagramClient): Uint8Array | null {
    try {
      const state = this.#hooks.exportState({ address: formatIp(client), port: clientPort });
      return state && state.length <= sessionBytesMax ? state : null;
    } catch {
      return null;
    }
  }

  #goOn(key: string): void {
    const held = this.#standing.get(key) ?? [];
    this.#standing.delete(key);
    for (const { message, from } of held) this.#ports.deliver(message, from);
  }
}

/** As one that the network brought. */
export function remoteInfoOf({ client, clientPort: port }: DatagramClient, size: number): RemoteInfo {
  return { address: formatIp(client), family: 'IPv4', port, size };
}

/** Null of what is no address. */
export function clientOf({ address, port: clientPort }: ClientEnd): DatagramClient | null {
  const parsed = parseIp(address);
  return parsed.ok ? { client: parsed.value, clientPort } : null;
}

function keyOf({ client, clientPort }: DatagramClient): string {
  return `${formatIp(client)}:${clientPort}`;
}
