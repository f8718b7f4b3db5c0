// A machine on the control network that has the keyring, and speaks for a replica that it is not.
//
//   CONFIG NAME CERTIFICATE SECONDS    agent.yaml of some replica, whom to speak for, how to sign: "none"; "own", with the key of that agent.yaml; "copied", with that key too,
//                                      under the certificate of NAME, which everybody is shown. Says that NAME leaves, and that it coordinates.
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { readAgentConfig, readCertificates } from '../../dist/agent/config.js';
import { createControlChannel } from '../../dist/agent/control-channel.js';
import { Signatures } from '../../dist/agent/signatures.js';
import { readCertificate } from '../../dist/platform/certificates.js';
import { readKeyring } from '../../dist/platform/keyring.js';
import { interfaceAddress } from '../../dist/platform/packet-socket.js';
import { openUdpControlNetwork } from '../../dist/platform/udp-control-network.js';
import { encodeMessage } from '../../dist/wire/control-message.js';

const [path, node, how, seconds] = process.argv.slice(2);
const own = readAgentConfig(path);
const config = { ...own, node };
const { group, port, peers } = config.control;
const store = { read: () => null, write() {}, remove() {} };
const network = await openUdpControlNetwork({
  ...{ group, port, peers: new Map(Object.entries(peers)), address: interfaceAddress('eth0') },
  onDatagram() {},
  onSendFailure: (reason) => process.stderr.write(`${reason}\n`),
});
const channel = createControlChannel(config, readKeyring(config.control.keyring), store, {
  signatures: signaturesOf(),
});

const version = { term: 0xffff_ffff, epoch: 0xffff_ffff };
for (let round = 1; round <= Number(seconds) * 20; round++) {
  for (const [coordinating, leaving] of [
    [false, true],
    [true, false],
  ]) {
    const body = encodeMessage({
      ...{
        kind: 'heartbeat',
        round: 2 * round + Number(coordinating),
        term: version.term,
        follow: coordinating ? node : null,
      },
      ...{
        coordinating,
        leaving,
        held: version,
        committed: version,
        basis: version,
        programmed: version.epoch,
        routed: 0,
      },
      ...{ incarnation: 1, witness: false, boot: 1, mac: '02:00:00:00:00:99', healthy: false },
      heard: Object.keys(peers).map((name) => ({ name, round: 1, multicast: true })),
    });
    send(channel.seal(body));
  }
  if (how !== 'none') send(channel.introduction());
  await delay(50);
}
await network.close();

function signaturesOf() {
  if (how === 'none') return null;
  const files = readCertificates(own);
  const shown =
    how === 'copied' ? { certificate: readCertificate(join(own.certificates.ca, '..', `${node}.crt`)).toString() } : {};
  const none = new Set();
  return new Signatures({
    ...{ config, store, files: { ...files, ...shown }, now: () => Date.now() },
    ...{ revokedSerials: () => none, onRevoked() {} },
  });
}

function send(datagram) {
  network.multicast(datagram);
  for (const peer of Object.keys(peers)) network.unicast(peer, datagram);
}
