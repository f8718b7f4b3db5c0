import { describe, expect, test } from 'vitest';
import { createArpResponder } from '../../src/agent/arp-responder.ts';
import type { ServiceEntry } from '../../src/dataplane/forwarding-table.ts';
import type { LinkSocket } from '../../src/ports/link-socket.ts';
import { decodeArp, encodeArp } from '../../src/wire/arp.ts';
import { deliveries, ip, serviceWith } from '../contract/data-plane-contract.ts';

const own = '02:00:00:00:00:0b';
const client = '02:00:00:00:00:01';
const service = serviceWith('0.0.0.255');

function responder(of: ServiceEntry = service): {
  arp: ReturnType<typeof createArpResponder>;
  link: LinkSocket;
  sent: Uint8Array[];
} {
  const sent: Uint8Array[] = [];
  const link = { mac: own, send: (frame: Uint8Array) => void sent.push(frame), close: async () => {} };
  return { arp: createArpResponder(of, () => link), link, sent };
}

function request(overrides: Partial<Parameters<typeof encodeArp>[0]> = {}): Uint8Array {
  return encodeArp({
    ethernetSource: client,
    ethernetDestination: 'ff:ff:ff:ff:ff:ff',
    operation: 'request',
    senderMac: client,
    senderIp: ip('10.77.1.1'),
    targetMac: '00:00:00:00:00:00',
    targetIp: service.address,
    ...overrides,
  });
}

describe('the ARP responder', () => {
  test("answers for the service address with the group's link address, from its own", () => {
    const { arp, sent } = responder();
    arp.onFrame(request());
    expect(sent.map(decodeArp)).toMatchObject([
      {
        ok: true,
        value: {
          operation: 'reply',
          senderMac: service.groupMac,
          senderIp: service.address,
          targetMac: client,
          targetIp: ip('10.77.1.1'),
        },
      },
    ]);
    // Ethernet destination and source: a switch must not learn the group's address on this port.
    expect([...(sent[0] ?? []).slice(0, 12)].map((byte) => byte.toString(16).padStart(2, '0')).join(':')).toBe(
      `${client}:${own}`,
    );
  });

  test.each([
    ['a request for another address', request({ targetIp: ip('10.77.0.11') })],
    ['a reply', request({ operation: 'reply' })],
    ["another agent's announcement", request({ senderIp: service.address })],
    ['a frame that is cut off', request().slice(0, 30)],
    ['garbage', new Uint8Array(60).fill(0xff)],
    ['nothing', new Uint8Array()],
  ])('is silent about %s', (_what, frame) => {
    const { arp, sent } = responder();
    arp.onFrame(frame);
    expect(sent).toEqual([]);
  });

  test('says nothing of an address that is routed, and asks for hosts still', () => {
    const { arp, link, sent } = responder(serviceWith('0.0.0.255', deliveries.router));
    arp.onFrame(request());
    arp.announce(link);
    expect(sent).toEqual([]);
    arp.ask(link, ip('10.77.0.11'), ip('10.77.0.12'));
    expect(sent.map(decodeArp)).toMatchObject([{ ok: true, value: { operation: 'request', senderMac: own } }]);
  });

  test('announces the address by asking for it (RFC 5227, section 3)', () => {
    const { arp, link, sent } = responder();
    arp.announce(link);
    expect(sent.map(decodeArp)).toMatchObject([
      {
        ok: true,
        value: {
          operation: 'request',
          senderMac: service.groupMac,
          senderIp: service.address,
          targetIp: service.address,
        },
      },
    ]);
  });
});
