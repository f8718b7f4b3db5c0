import type { Logger } from 'pino';
import { addressOf, formatIp } from '../base/address.ts';
import { defined } from '../base/assert.ts';
import { messageOf } from '../base/operating-error.ts';
import type { ServiceEntry } from '../dataplane/forwarding-table.ts';
import { hasAddress, interfaceIndex, openPacketSocket } from '../platform/packet-socket.ts';
import type { LinkSocket } from '../ports/link-socket.ts';
import { arpEtherType } from '../wire/arp.ts';
import { createArpResponder } from './arp-responder.ts';
import type { AgentConfig } from './config.ts';

/** This host on the segment that carries the service. */
export interface Segment {
  /** Corrects whoever learned a host's own link address for the service. */
  announce(): void;
  /** Asks whether the hosts of these peers are there. */
  probe(peers: readonly string[]): void;
  close(): Promise<void>;
}

/** Answers ARP for the service address from now on; `onAlive` hears of peers whose hosts answer a probe. */
export function joinSegment(
  { node, control }: AgentConfig,
  service: ServiceEntry,
  log: Logger,
  onAlive: (peer: string) => void,
): Segment {
  const names = new Map(Object.entries(control.peers).map(([name, address]) => [address, name]));
  const own = defined(control.peers[node], 'the checked address of this node');
  // Elsewhere nobody would answer for a peer's address, and silence would say nothing.
  const onSegment = hasAddress(service.device, own);
  let index = interfaceIndex(service.device);
  let link: LinkSocket | null = null;
  const arp = createArpResponder(service, () => link, {
    onReply(from) {
      const peer = names.get(formatIp(from));
      if (peer !== undefined) onAlive(peer);
    },
  });
  link = openPacketSocket(service.device, arpEtherType, arp.onFrame);
  arp.announce(link);

  /** A device that was removed and is back has another index, and the socket of the old one hears nothing. */
  function current(): LinkSocket | null {
    const now = interfaceIndex(service.device);
    if (now !== index) {
      void link?.close();
      link = openPacketSocket(service.device, arpEtherType, arp.onFrame);
      index = now;
    }
    return link;
  }

  function send(use: (socket: LinkSocket) => void): void {
    try {
      const socket = current();
      if (socket) use(socket);
    } catch (error) {
      log.warn(`on ${service.device}: ${messageOf(error)}`);
    }
  }

  return {
    announce: () => send((socket) => arp.announce(socket)),
    probe(peers: readonly string[]): void {
      for (const peer of peers) {
        const address = control.peers[peer];
        if (address === undefined || !onSegment) onAlive(peer);
        else send((socket) => arp.ask(socket, addressOf(own), addressOf(address)));
      }
    },
    close: async () => link?.close(),
  };
}
