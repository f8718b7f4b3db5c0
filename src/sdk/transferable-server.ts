import type { Server, Socket } from 'node:net';
import type { Refusal } from './message.ts';

/** What an application gives so that connections with a state of its own can move to another machine. */
export interface StateHooks {
  /**
   * The state of a connection, at most 1 MiB, as of now: what was read before is in it, what is written later goes out only if the connection
   * stays. Null, or throwing, keeps the connection where it is.
   */
  exportState(socket: Socket): Uint8Array | null;
  /**
   * Begins a connection that comes from another machine with the state that `exportState` gave there; no 'connection' or 'upgrade' event tells of it.
   * What is written is sent, and what the client sends is read, once the connection is here for good. Throwing refuses it.
   */
  importState(socket: Socket, state: Buffer): void;
  /** This is a convenient point to end the connection: the application finishes the transaction under way, if any, and closes. */
  finish?(socket: Socket): void;
}

/** A server whose connections can move, as the link to the agent sees it. */
export interface TransferableServer {
  readonly server: Server;
  /** Why a connection cannot move now; null when it can. */
  refusalOf(socket: Socket): Refused | null;
  /** Null when the application says no; may throw. */
  exportState(socket: Socket): Uint8Array | null;
  /** Throws to refuse. */
  importState(socket: Socket, state: Buffer): void;
  /** An imported connection is here for good. */
  arrived(socket: Socket): void;
  finish(socket: Socket): void;
}

export interface Refused {
  readonly code: Refusal;
  readonly reason: string;
}
