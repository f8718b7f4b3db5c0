import { type IpAddress, sameIp } from '../base/address.ts';
import { broadcastMac } from '../base/mac.ts';
import type { ServiceEntry } from '../dataplane/forwarding-table.ts';
import type { LinkSocket } from '../ports/link-socket.ts';
import { decodeArp, encodeArp } from '../wire/arp.ts';

/** Answers ARP for the service address with the group's link address, so that every replica gets every frame, and nobody where the address is routed; asks whether other hosts are there. */
export interface ArpResponder {
  onFrame(frame: Uint8Array): void;
  /** An unsolicited request (RFC 5227 section 3): corrects whoever learned a host's own link address for the service. */
  announce(link: LinkSocket): void;
  /** Asks for the host that has `target`, on behalf of `sender`; its answer calls `onReply`. */
  ask(link: LinkSocket, sender: IpAddress, target: IpAddress): void;
}

/**
 * All agents of a service give the same answer, whoever serves: a failover needs no ARP. The frame itself comes from the host's own
 * link address: a switch must never learn the group's on a port.
 */
export function createArpResponder(
  service: ServiceEntry,
  link: () => LinkSocket | null,
  { onReply }: { readonly onReply?: (from: IpAddress) => void } = {},
): ArpResponder {
  const { address, groupMac } = service;
  return {
    onFrame(frame: Uint8Array): void {
      const request = decodeArp(frame);
      const socket = link();
      if (!socket || !request.ok) return;
      const { operation, senderMac, senderIp, targetIp } = request.value;
      if (operation === 'reply') onReply?.(senderIp);
      if (groupMac === null || operation !== 'request') return;
      if (!sameIp(targetIp, address) || sameIp(senderIp, address)) return;
      socket.send(
        encodeArp({
          ethernetSource: socket.mac,
          ethernetDestination: senderMac,
          operation: 'reply',
          senderMac: groupMac,
          senderIp: address,
          targetMac: senderMac,
          targetIp: senderIp,
        }),
      );
    },
    announce(socket: LinkSocket): void {
      if (groupMac === null) return;
      socket.send(
        encodeArp({
          ethernetSource: socket.mac,
          ethernetDestination: broadcastMac,
          operation: 'request',
          senderMac: groupMac,
          senderIp: address,
          targetMac: '00:00:00:00:00:00',
          targetIp: address,
        }),
      );
    },
    ask(socket: LinkSocket, sender: IpAddress, target: IpAddress): void {
      socket.send(
        encodeArp({
          ethernetSource: socket.mac,
          ethernetDestination: broadcastMac,
          operation: 'request',
          senderMac: socket.mac,
          senderIp: sender,
          targetMac: '00:00:00:00:00:00',
          targetIp: target,
        }),
      );
    },
  };
}
