import type { Logger } from 'pino';
import { addressOf, formatIp } from '../base/address.ts';
import { defined } from '../base/assert.ts';
import { messageOf } from '../base/operating-error.ts';
import type { ServiceEntry } from '../dataplane/forwarding-table.ts';
import { followDevice } from '../platform/followed-device.ts';
import { hasAddress, openPacketSocket } from '../platform/packet-socket.ts';
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
  let link: LinkSocket | null = null;
  const arp = createArpResponder(service, () => link, {
    onReply(from) {
      const peer = names.get(formatIp(from));
      if (peer !== undefined) onAlive(peer);
    },
  });

  const device = followDevice(service.device, () => {
    link = openPacketSocket(service.device, arpEtherType, arp.onFrame);
    return link;
  });

  function attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      log.warn(`on ${service.device}: ${messageOf(error)}`);
    }
  }

  const announce = (): void => attempt(() => arp.announce(device.current()));

  function probe(peers: readonly string[]): void {
    // Elsewhere nobody would answer for a peer's address, and silence would say nothing.
    const onSegment = hasAddress(service.device, own);
    for (const peer of peers) {
      const address = control.peers[peer];
      if (address === undefined || !onSegment) onAlive(peer);
      else arp.ask(device.current(), addressOf(own), addressOf(address));
    }
  }

  announce();
  return {
    announce,
    probe: (peers) => attempt(() => probe(peers)),
    close: () => device.close(),
  };
}
