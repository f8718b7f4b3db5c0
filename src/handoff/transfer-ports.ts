import type { Result } from '../base/result.ts';
import type { TcpFlow } from '../base/tcp-flow.ts';
import type { SocketImage } from './socket-image.ts';
import type { TransferMessage } from './transfer-message.ts';

/** What both ends of a transfer need. */
export interface TransferPorts {
  /** To the agent of a peer; resolves when it is on its way. Rejects when the peer cannot be reached. */
  send(peer: string, message: TransferMessage): Promise<void>;
  readonly sockets: SocketRepair;
  /** Milliseconds, monotonic. */
  now(): number;
  /** Calls back once, after `ms`; returns what cancels it. */
  after(ms: number, callback: () => void): () => void;
}

/** Live sockets as values, and back. Descriptors are numbers of this process. */
export interface SocketRepair {
  /** Freezes the connection, and drops its packets from then on; a refusal leaves it as it was. */
  exportSocket(descriptor: number): Result<SocketImage>;
  /** Whether no packet has come through since: one that was on its way may. */
  isUnchanged(descriptor: number, image: SocketImage): boolean;
  /** What was exported goes on here. */
  thaw(descriptor: number, image: SocketImage): void;
  /** A frozen socket with the connection of `image`. */
  importSocket(image: SocketImage): number;
  /** What was imported goes on. When this throws, part of what was never sent may be missing. */
  goLive(descriptor: number, image: SocketImage): void;
  /** Ends a frozen connection here without a packet, and closes the descriptor. */
  closeSilently(descriptor: number): void;
  /** Ends an imported connection, frozen or live, with a reset to its client, and closes the descriptor. */
  reset(descriptor: number): void;
  /** Closes the descriptor; the application's own stays open. */
  close(descriptor: number): void;
}

/** A connection that its application has stopped using, with what has to go along. */
export interface Frozen {
  /** A duplicate of the application's; whoever gets it closes it. */
  readonly descriptor: number;
  readonly state: Uint8Array;
  /** Bytes that the application's runtime had taken from the kernel and the application had not. */
  readonly unread: Uint8Array;
}

/** Applications whose connections are to be moved away. */
export interface HolderApplications {
  /**
   * Has queues run short before connections are frozen, as far as that can be done. Resolves to those on which much comes or goes: nothing was done to them, as
   * the others would stand still meanwhile. None of a flow that is alone.
   */
  calm(flows: readonly TcpFlow[]): Promise<readonly TcpFlow[]>;
  /** For each flow, in this order: frozen, or why not. */
  freeze(flows: readonly TcpFlow[]): Promise<readonly Result<Frozen>[]>;
  /** It is elsewhere: the application forgets it. */
  moved(flow: TcpFlow): void;
  /** It stays: the application goes on with it. */
  thaw(flow: TcpFlow): void;
}

/** Applications that take connections over. */
export interface TakerApplications {
  /** Gives the connection to the application, which does nothing with it yet; the descriptor is duplicated. */
  adopt(flow: TcpFlow, frozen: Frozen): Promise<Result<null>>;
  /** It is the application's from now on. */
  go(flow: TcpFlow): void;
  /** It is not, after all. */
  drop(flow: TcpFlow): void;
}
