// A machine on a link of the router that wants packets which are not its own.
//
//   CONFIG KIND [SOURCE]    agent.yaml of some replica; what to send, once, for all packets of its group. With no key: "unsigned"; "replayed", a join of that replica as it was on the wire;
//                  "changed", the same with one bit of its random key another. As one who has the key of that agent.yaml: "stale", signed a minute ago; "elsewhere", with the
//                  address that the replica has there. "own": with the key, of whatever authority, for the address that this machine has here, or SOURCE.
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { readAgentConfig, readCertificates } from '../../dist/agent/config.js';
import { addressOf } from '../../dist/base/address.js';
import { signedJoin } from '../../dist/identity/join.js';
import { openIgmpSocket } from '../../dist/platform/igmp-socket.js';
import { certificateBytes, joinSigner } from '../../dist/platform/join-signatures.js';
import { ownAddress } from '../../dist/platform/link-addresses.js';
import { decodeIgmp, encodeQuery, encodeReport } from '../../dist/wire/igmp.js';
import { decodeIgmpPacket, encodeIgmpPacket, internetChecksum, writeChecksum } from '../../dist/wire/igmp-packet.js';

const [path, kind, source] = process.argv.slice(2);
const config = readAgentConfig(path);
const group = addressOf(config.service.group);
const allRouters = addressOf('224.0.0.22');
const victim = addressOf(config.control.peers[config.node]);
const own = source ? addressOf(source) : ownAddress('eth0');
const zero = addressOf('0.0.0.0');
const everything = { permit: [{ value: zero, mask: zero }], prohibit: [] };
const checksumAt = 2;

let heard = () => {};
const onWire = new Promise((resolve) => {
  heard = resolve;
});
const socket = openIgmpSocket(
  'eth0',
  { listen: [allRouters] },
  {
    onPacket: hear,
    onFailure: (error) => {
      throw error;
    },
  },
);
socket.send(await packet());
// What the kernel has taken is on the wire by then.
await delay(50);
await socket.close();

function hear(bytes) {
  const outer = decodeIgmpPacket(bytes);
  if (!outer.ok || outer.value.source.value !== victim.value) return;
  const inner = decodeIgmp(outer.value.message);
  if (inner.ok && inner.value.kind === 'report' && inner.value.extension?.authentication) heard(bytes);
}

async function packet() {
  if (kind === 'unsigned')
    return encodeIgmpPacket({
      source: own,
      destination: allRouters,
      message: encodeReport('to-exclude', group, everything).value,
    });
  if (kind === 'replayed') return captured();
  if (kind === 'changed') return changed(await captured());
  if (kind === 'stale') return signed(victim, Date.now() - 60_000);
  return signed(kind === 'elsewhere' ? victim : own, Date.now());
}

/** Anybody may ask, and is answered. */
async function captured() {
  const query = { group, maxResponseMs: 100, suppress: false, robustness: 2, intervalMs: 125_000, sources: [] };
  socket.send(encodeIgmpPacket({ source: own, destination: addressOf('224.0.0.1'), message: encodeQuery(query) }));
  const bytes = await onWire;
  // The router has heard it too.
  await delay(200);
  return bytes;
}

function changed(bytes) {
  const { source, message } = decodeIgmpPacket(bytes).value;
  const { randomKey } = decodeIgmp(message).value.extension.authentication;
  const copy = Uint8Array.from(message);
  copy[Buffer.from(copy).indexOf(Buffer.from(randomKey))] ^= 1;
  writeChecksum(copy, checksumAt, 0);
  writeChecksum(copy, checksumAt, internetChecksum(copy));
  return encodeIgmpPacket({ source, destination: allRouters, message: copy });
}

async function signed(requester, timeMs) {
  const { certificate, key } = readCertificates(config);
  const credentials = {
    requester,
    timeMs,
    randomKey: Uint8Array.from(randomBytes(16)),
    epoch: 2 ** 40,
    certificate: certificateBytes(certificate),
  };
  const message = await signedJoin({ type: 'to-exclude', group, filters: everything }, credentials, joinSigner(key));
  return encodeIgmpPacket({ source: requester, destination: allRouters, message: message.value });
}
