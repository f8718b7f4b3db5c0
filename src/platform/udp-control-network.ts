import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import type { ControlNetwork } from '../ports/control-network.ts';
import type { Via } from '../wire/envelope.ts';

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

/** Two sockets on one port, one bound to the group and one to the own address: which one a datagram comes to tells how it came. */
export async function openUdpControlNetwork(options: UdpControlOptions): Promise<ControlNetwork> {
  const own = await bound(options.address, options.port, 'control.peers');
  const group = await bound(options.group, options.port, 'control.group');
  try {
    group.addMembership(options.group, options.address);
    own.setMulticastInterface(options.address);
    own.setMulticastTTL(1);
  } catch (cause) {
    await Promise.all([closed(own), closed(group)]);
    throw new OperatingError(
      'control-network',
      `control.group: ${options.group} cannot be joined: ${messageOf(cause)}`,
      { cause },
    );
  }
  group.on('message', (datagram) => options.onDatagram(datagram, 'multicast'));
  own.on('message', (datagram) => options.onDatagram(datagram, 'unicast'));
  for (const each of [own, group]) each.on('error', (error) => options.onSendFailure(error.message));

  const sendTo = (address: string, datagram: Uint8Array) =>
    own.send(datagram, options.port, address, (error) => error && options.onSendFailure(error.message));
  return {
    multicast: (datagram) => sendTo(options.group, datagram),
    unicast(peer: string, datagram: Uint8Array): void {
      const address = options.peers.get(peer);
      if (!address) throw new OperatingError('control-network', `control.peers: no address for "${peer}"`);
      sendTo(address, datagram);
    },
    close: async () => {
      await Promise.all([closed(own), closed(group)]);
    },
  };
}

async function bound(address: string, port: number, field: string): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', reuseAddr: field === 'control.group' });
  try {
    socket.bind({ address, port });
    await once(socket, 'listening');
  } catch (cause) {
    socket.close();
    throw new OperatingError(
      'control-network',
      `${field}: cannot listen on ${address} port ${port}: ${messageOf(cause)}`,
      { cause },
    );
  }
  return socket;
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.close(() => resolve()));
}
