import { createSocket, type Socket, type SocketOptions } from 'node:dgram';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import type { ControlNetwork } from '../ports/control-network.ts';
import { datagramBytesMax, type Via } from '../wire/envelope.ts';
import { bind, close, linux, receive, setsockopt, socket } from './libc.ts';

export interface UdpControlOptions {
  /** Own address on the control segment. */
  readonly address: string;
  readonly group: string;
  readonly port: number;
  /** Name to address. */
  readonly peers: ReadonlyMap<string, string>;
  readonly onDatagram: (datagram: Uint8Array, via: Via) => void;
  /** A datagram that could not be sent: a cut link, say. The protocol repeats everything that matters. */
  readonly onSendFailure: (reason: string) => void;
}

/** Of <asm-generic/socket.h>. */
const SO_REUSEADDR = 2;
/** What may wait while the agent does something else; doubled by the kernel for its own needs, and no more than net.core.rmem_max (socket(7)). */
const queueBytes = 1024 * 1024;
/** Datagrams read from one socket before timers and other sockets get their turn. */
const datagramsPerTurn = 256;

/** Two sockets on one port, one bound to the group and one to the own address: which one a datagram comes to tells how it came. */
export async function openUdpControlNetwork(options: UdpControlOptions): Promise<ControlNetwork> {
  const own = bound(options.address, options.port, 'control.peers');
  const group = await besides([own], () => bound(options.group, options.port, 'control.group'));
  await besides([own, group], () => join(own.socket, group.socket, options));
  for (const [from, via] of [
    [group, 'multicast'],
    [own, 'unicast'],
  ] as const) {
    from.socket.on('error', (error) => options.onSendFailure(error.message));
    readAll(from, (datagram) => options.onDatagram(datagram, via));
  }

  const sendTo = (address: string, datagram: Uint8Array) =>
    own.socket.send(datagram, options.port, address, (error) => error && options.onSendFailure(error.message));
  return {
    multicast: (datagram) => sendTo(options.group, datagram),
    unicast(peer: string, datagram: Uint8Array): void {
      const address = options.peers.get(peer);
      if (!address) throw new OperatingError('control-network', `control.peers: no address for "${peer}"`);
      sendTo(address, datagram);
    },
    close: () => closed([own, group]),
  };
}

interface Bound {
  readonly fd: number;
  readonly socket: Socket;
  open: boolean;
}

/** Of a socket that libc opened, so that libc can read it too. */
function bound(address: string, port: number, field: string): Bound {
  const fd = socket(linux.AF_INET, linux.SOCK_DGRAM, 0);
  try {
    if (field === 'control.group') setsockopt(fd, linux.SOL_SOCKET, SO_REUSEADDR, Uint8Array.of(1, 0, 0, 0));
    bind(fd, socketAddress(address, port));
  } catch (cause) {
    close(fd);
    throw new OperatingError(
      'control-network',
      `${field}: cannot listen on ${address} port ${port}: ${messageOf(cause)}`,
      { cause },
    );
  }
  const node = createSocket({ type: 'udp4', lookup: alreadyFound }).bind({ fd });
  node.setRecvBufferSize(queueBytes);
  return { fd, socket: node, open: true };
}

/** Peers and groups are addresses, not names: nothing is looked up for each datagram, a turn of the event loop later. */
const alreadyFound: NonNullable<SocketOptions['lookup']> = (address, _options, found) => found(null, address, 4);

/** struct sockaddr_in of ip(7). */
function socketAddress(address: string, port: number): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, linux.AF_INET, true);
  view.setUint16(2, port);
  bytes.set(address.split('.').map(Number), 4);
  return bytes;
}

function join(own: Socket, group: Socket, options: UdpControlOptions): void {
  try {
    group.addMembership(options.group, options.address);
    own.setMulticastInterface(options.address);
    own.setMulticastTTL(1);
  } catch (cause) {
    throw new OperatingError(
      'control-network',
      `control.group: ${options.group} cannot be joined: ${messageOf(cause)}`,
      { cause },
    );
  }
}

/**
 * Node tells that there is something to read, and hands over the first; what waits behind it is read directly, at a small part of what
 * each costs through Node: a flood of the port is refused faster than it comes, and what is genuine is not lost behind it.
 */
function readAll(from: Bound, onDatagram: (datagram: Uint8Array) => void): void {
  // One byte longer than the longest, which shows that a datagram was too long.
  const buffer = new Uint8Array(datagramBytesMax + 1);
  let left = datagramsPerTurn;
  from.socket.on('message', (first) => {
    onDatagram(first);
    while (left > 0 && from.open) {
      const datagram = next();
      if (!datagram) return;
      onDatagram(datagram);
      if (--left === 0) setImmediate(() => (left = datagramsPerTurn));
    }
  });

  function next(): Uint8Array | null {
    try {
      const length = receive(from.fd, buffer, linux.MSG_DONTWAIT);
      return length === null ? null : buffer.slice(0, length);
    } catch (error) {
      from.socket.emit('error', error);
      return null;
    }
  }
}

/** What `open` opens; when it cannot, nothing else stays open either. */
async function besides<T>(others: readonly Bound[], open: () => T): Promise<T> {
  try {
    return open();
  } catch (error) {
    await closed(others);
    throw error;
  }
}

async function closed(all: readonly Bound[]): Promise<void> {
  for (const each of all) each.open = false;
  await Promise.all(all.map(({ socket }) => new Promise<void>((resolve) => socket.close(() => resolve()))));
}
