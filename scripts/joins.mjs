// What checking joins costs, and what a flood of forged ones does to a good one: `node scripts/joins.mjs`. Makes a network namespace of its own. Prints one line of
// JSON. `checked` are joins a second of processor time (certificates known), beside bare RSA verifications in the same minute; `queued` is how late good joins of a member
// count among forged ones of each kind, in milliseconds, by processor time alone; `flood` is the same on a wire, as the machine has time for it: it says how many forged
// packets came a second and were refused for what, and how late good joins of a member counted, in milliseconds, with the time it takes to send and receive them.
// `--seconds 5` for each flood, of `--rate 10000` packets a second: what a link of 100 Mbit/s carries; 0 is as many as can be sent.
import { execFileSync, fork, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { allRouters, authority, checkedPerSecond, ip, packet, ports } from '../bench/signed-joins.mjs';
import { median } from '../bench/statistics.mjs';
import { openIgmpSocket } from '../dist/platform/igmp-socket.js';
import { JoinChecks } from '../dist/router/join-checks.js';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    rate: { type: 'string', default: '10000' },
    joins: { type: 'string', default: '8000' },
  },
});
const goodEveryMs = 50;
/** Sent and not counted by then: lost. */
const lateMs = 2000;

if (process.send) await beSender();
else if (process.env.MANYCAST_JOINS_INSIDE) process.stdout.write(`${JSON.stringify(await measure())}\n`);
else {
  const flags = process.getuid() === 0 ? '-n' : '-Urn';
  const command = [flags, process.execPath, fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  const env = { ...process.env, MANYCAST_JOINS_INSIDE: '1' };
  process.exitCode = spawnSync('unshare', command, { env, stdio: 'inherit' }).status ?? 1;
}

async function measure() {
  const site = authority('site1');
  const members = Array.from({ length: 4 }, (_, i) => site.member(`web${i + 1}`, `10.77.0.${21 + i}`));
  const rounds = checkedPerSecond(site, members, Number(values.joins), 5);
  const of = (kind) => {
    const list = rounds.map((each) => each[kind]);
    return { median: Math.round(median(list)), best: Math.round(Math.max(...list)) };
  };
  const checked = { joins: of('joins'), bareVerifications: of('bare') };
  const modelled = {};
  const floods = {};
  execFileSync('ip', ['link', 'add', 'lan', 'type', 'veth', 'peer', 'name', 'hosts']);
  for (const [device, address] of [
    ['lan', '10.77.0.1/24'],
    ['hosts', '10.77.0.21/24'],
  ]) {
    execFileSync('ip', ['address', 'add', address, 'dev', device]);
    execFileSync('ip', ['link', 'set', device, 'up']);
    execFileSync('sysctl', ['-qw', `net.ipv4.conf.${device}.accept_local=1`, `net.ipv4.conf.${device}.rp_filter=0`]);
  }
  execFileSync('sysctl', ['-qw', 'net.ipv4.conf.all.rp_filter=0']);
  for (const kind of ['nothing', 'damaged', 'unknown certificates', 'the name of another member', 'its own name']) {
    if (kind !== 'nothing') modelled[kind] = queued(kind, site, members);
    floods[kind] = await flood(kind, site, members);
  }
  return { checked, queued: modelled, flood: floods };
}

/**
 * How late good joins would be counted by a router that had a processor for itself: each packet waits until those before it are done, which takes the processor time
 * that it takes here. Clock and packets are made up, the checks are not.
 */
function queued(kind, site, members) {
  const checks = new JoinChecks(ports(site));
  const startMs = Date.now();
  const at = (ms) => ({ wallMs: Math.floor(startMs + ms), monotonicMs: ms });
  for (const member of members) checks.receive(packet(member, { timeMs: startMs }), 'lan', at(0));
  const forged = forgeries(kind, members);
  const rate = Number(values.rate) || 10_000;
  const delays = [];
  let good = 0;
  let freeMs = 0;
  for (let i = 0; i < rate * 2; i++) {
    const cameMs = (i * 1000) / rate;
    const isGood = i % Math.round((goodEveryMs * rate) / 1000) === 0;
    if (isGood) good++;
    const each = isGood
      ? packet(members[0], { timeMs: at(cameMs).wallMs, epoch: 2 })
      : freshened(forged[i % forged.length], at(cameMs).wallMs);
    const beginMs = Math.max(cameMs, freeMs);
    const before = process.cpuUsage();
    const judgement = checks.receive(each, 'lan', at(beginMs));
    const { user, system } = process.cpuUsage(before);
    freeMs = beginMs + (user + system) / 1000;
    if (judgement.joins?.length === 1) delays.push(freeMs - cameMs);
  }
  delays.sort((a, b) => a - b);
  const rounded = (ms) => Number((ms ?? Number.NaN).toFixed(2));
  return {
    good,
    counted: delays.length,
    medianMs: rounded(delays[delays.length >> 1]),
    worstMs: rounded(delays.at(-1)),
  };
}

/** A router of one link; another process forges, and sends good joins of the first member in between. */
async function flood(kind, site, members) {
  const checks = new JoinChecks(ports(site));
  const now = () => ({ wallMs: Date.now(), monotonicMs: performance.now() });
  // Every member is known.
  for (const member of members) checks.receive(packet(member, { timeMs: Date.now() }), 'lan', now());
  const delays = [];
  let received = 0;
  const before = new Map(checks.refused);
  const socket = openIgmpSocket(
    'lan',
    { listen: [allRouters] },
    {
      onPacket(each) {
        received++;
        const judgement = checks.receive(each, 'lan', now());
        for (const join of judgement.joins ?? []) {
          if (join.epoch === 2) delays.push(Date.now() - join.timeMs);
        }
      },
      onFailure(error) {
        throw error;
      },
    },
  );
  const sender = fork(fileURLToPath(import.meta.url), [], { env: process.env });
  const told = once(sender, 'message');
  const cpu = process.cpuUsage();
  sender.send({
    kind,
    seconds: Number(values.seconds),
    rate: Number(values.rate),
    members: members.map((each) => ({
      text: each.text,
      privateKey: each.privateKey,
      certificate: [...each.certificate],
    })),
  });
  const [{ forged, good, elapsedMs }] = await told;
  await sleep(lateMs);
  const { user, system } = process.cpuUsage(cpu);
  await socket.close();
  delays.sort((a, b) => a - b);
  const refused = Object.fromEntries(
    [...checks.refused].map(([reason, count]) => [reason, count - (before.get(reason) ?? 0)]),
  );
  return {
    ...{
      forgedPerSecond: Math.round((forged * 1000) / elapsedMs),
      receivedPerSecond: Math.round((received * 1000) / elapsedMs),
      refused,
    },
    ...{ good, counted: delays.length, medianMs: delays[delays.length >> 1], worstMs: delays.at(-1) },
    cpuShare: Number(((user + system) / 1000 / elapsedMs).toFixed(2)),
  };
}

/** The other process: forged packets as fast as it can, or none; a good join every 50 ms. */
async function beSender() {
  const [{ kind, seconds, rate, members: told }] = await once(process, 'message');
  const members = told.map((each) => ({
    ...each,
    certificate: Uint8Array.from(each.certificate),
    address: ip(each.text),
  }));
  const ignored = { onPacket() {}, onFailure() {} };
  const socket = openIgmpSocket('hosts', {}, ignored);
  const forged = kind === 'nothing' ? [] : forgeries(kind, members);
  const startMs = performance.now();
  const untilMs = startMs + seconds * 1000;
  let sent = 0;
  let good = 0;
  for (let goodAtMs = startMs; performance.now() < untilMs; ) {
    if (performance.now() >= goodAtMs) {
      goodAtMs += goodEveryMs;
      good++;
      socket.send(packet(members[0], { timeMs: Date.now(), epoch: 2 }));
    }
    const isAhead = rate > 0 && sent > ((performance.now() - startMs) * rate) / 1000;
    if (forged.length === 0 || isAhead) {
      await sleep(1);
      continue;
    }
    // The checks look at the time before anything that costs more, and at the random key.
    for (let i = 0; i < 16; i++) socket.send(freshened(forged[sent++ % forged.length]));
  }
  const elapsedMs = performance.now() - startMs;
  await socket.close();
  process.send({ forged: sent, good, elapsedMs });
}

function forgeries(kind, members) {
  return Array.from({ length: 64 }, (_, i) => {
    const member = members[kind === 'its own name' ? 0 : 1];
    const certificate = Uint8Array.from(member.certificate);
    if (kind === 'unknown certificates') certificate.set(randomBytes(8), certificate.length - 16);
    const forged = packet(
      { ...member, certificate },
      { timeMs: Date.now(), epoch: 9 + i, signature: randomBytes(256) },
    );
    if (kind === 'damaged') forged[60] ^= 1;
    return { packet: forged, isDamaged: kind === 'damaged' };
  });
}

/** With the time of now and another random key; the checksum follows. */
function freshened({ packet: forged, isDamaged }, nowMs = Date.now()) {
  if (isDamaged) return forged;
  const view = new DataView(forged.buffer, forged.byteOffset);
  const at = authenticationAt(forged);
  view.setBigUint64(at + 4, BigInt(nowMs));
  for (let i = 0; i < 16; i += 4) view.setUint32(at + 12 + i, (Math.random() * 2 ** 32) >>> 0);
  view.setUint16(26, 0);
  let sum = 0;
  for (let i = 24; i + 1 < forged.length; i += 2) sum += view.getUint16(i);
  if (forged.length % 2) sum += forged[forged.length - 1] << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(26, ~sum & 0xffff);
  return forged;
}

/** Where the value of the authentication begins: after the filters. */
function authenticationAt(whole) {
  const filters = 24 + 16;
  return filters + 4 + whole[filters + 2] * 256 + whole[filters + 3] + 4;
}
