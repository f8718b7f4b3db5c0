// What it costs to sign control messages, in processor time of this process: `node scripts/signing.mjs [--peers 8]`.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { createControlChannel } from '../dist/agent/control-channel.js';
import { Signatures } from '../dist/agent/signatures.js';
import { authorityCertificate, memberCertificate } from '../dist/identity/certificate.js';

const { values } = parseArgs({ options: { peers: { type: 'string', default: '8' } } });
const peers = Number(values.peers);
const count = 4000;
/** To the group; news and what goes by unicast are seldom. */
const heartbeatsPerSecond = 10;
const lifetime = { notBefore: new Date(Date.now() - 3_600_000), notAfter: new Date(Date.now() + 86_400_000) };
const serial = () => Uint8Array.of(1, ...randomBytes(15));
const keys = () =>
  generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });

const authority = keys();
const ca = authorityCertificate({ cluster: 'site1', ...authority, serial: serial(), lifetime });
const keyring = [randomBytes(32)];
const body = randomBytes(120 + 16 * peers);

for (const signed of [false, true]) {
  const [sender, receiver] = [channel('r1', signed), channel('r2', signed)];
  if (signed) receiver.open(sender.introduction());
  const sealed = [];
  const sealing = micros(() => sealed.push(sender.seal(body)));
  const opening = micros((i) => {
    const opened = receiver.open(sealed[i]);
    if (!opened.ok) throw new Error(opened.reason);
  });
  const share = (heartbeatsPerSecond * (sealing + peers * opening)) / 1e6;
  const figures = `sealed in ${sealing.toFixed(0)} µs, opened in ${opening.toFixed(0)} µs`;
  process.stdout.write(
    `${signed ? 'signed' : 'unsigned'}: ${figures}; with ${peers} peers ${(100 * share).toFixed(1)} % of a core\n`,
  );
}

function channel(node, signed) {
  const service = { name: 'web', address: '203.0.113.10', partition: '0.0.0.255' };
  const control = { peers: { r1: '10.0.0.1', r2: '10.0.0.2' }, signatures: 'required' };
  const config = { cluster: 'site1', node, service, control, delivery: 'segment', routers: {} };
  const store = { read: () => null, write() {}, remove() {} };
  const none = new Set();
  const options = {
    config,
    files: member(node),
    store,
    revokedSerials: () => none,
    onRevoked() {},
    now: () => Date.now(),
  };
  return createControlChannel(config, keyring, store, { signatures: signed ? new Signatures(options) : null });
}

function member(replica) {
  const own = keys();
  const certificate = memberCertificate({
    ...{ member: { cluster: 'site1', replica }, serial: serial(), lifetime, publicKey: own.publicKey },
    authority: { certificate: ca, privateKey: authority.privateKey },
  });
  return { ca, certificate, key: own.privateKey };
}

/** Of one call. */
function micros(call) {
  const begin = process.cpuUsage();
  for (let i = 0; i < count; i++) call(i);
  const { user, system } = process.cpuUsage(begin);
  return (user + system) / count;
}
