// What the figures were taken on, and how busy it was with other things.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/**
 * The machine, for the report. `busy` is the share of its processors' time that others used in the second before, `commit` what was measured, `versions` of Debian's packages those that are there.
 * @param {string[]} packages
 */
export async function machineSeen(packages) {
  const before = machineTicks();
  await delay(1000);
  const after = machineTicks();
  return {
    processor: cpus()[0]?.model ?? 'unknown',
    processors: availableParallelism(),
    memoryGigabytes: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    system: /PRETTY_NAME="(.*)"/.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'unknown',
    node: process.versions.node,
    commit: said('git', ['describe', '--always', '--dirty']) || 'unknown',
    versions: said('dpkg-query', ['-W', ...new Set(packages)])
      .replaceAll('\t', ' ')
      .split('\n'),
    busy: Number(((after.busy - before.busy) / (after.all - before.all)).toFixed(3)),
  };
}

/** What a command prints, whether it finds all that it was asked for or not. */
function said(command, args) {
  const directory = fileURLToPath(new URL('..', import.meta.url));
  return (spawnSync(command, args, { cwd: directory, encoding: 'utf8' }).stdout ?? '').trim();
}

/**
 * Processor time of the whole machine since it started, in ticks, proc(5): also the kernel's own work in soft interrupts, which is where veth and bridges do theirs. `busy` is without idling, waiting for
 * disks, and what the hypervisor took away.
 */
export function machineTicks() {
  const [user, nice, system, idle, iowait, irq, softirq, steal] = readFileSync('/proc/stat', 'utf8')
    .split('\n')[0]
    .split(/\s+/)
    .slice(1)
    .map(Number);
  const busy = user + nice + system + irq + softirq;
  return { busy, all: busy + idle + iowait + steal };
}

/** Of proc(5): the kernel's USER_HZ, which is 100 on every architecture that Node runs on. */
export const ticksPerSecond = 100;
