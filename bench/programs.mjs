// The programs that manycast is compared with, and those that measure: Debian's packages, installed when root and missing.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { withoutServices } from '../scripts/without-services.mjs';

/** By what a package is known to be there, where it is not a program of its own name: other packages may bring it too. */
const marks = {
  'nginx-light': 'nginx',
  'libnginx-mod-stream': '/usr/lib/nginx/modules/ngx_stream_module.so',
  nftables: 'nft',
  iproute2: 'ip',
  'iputils-arping': 'arping',
  'iputils-ping': 'ping',
  'util-linux': 'unshare',
  procps: 'sysctl',
};

/** Services that their packages would start again with the machine. */
const services = ['haproxy', 'keepalived', 'nginx', 'ucarp', 'iperf3', 'corosync', 'pacemaker'];

/**
 * Installs what is missing, as far as that can be done here, and says so.
 * @param {string[]} packages of Debian
 * @param {(text: string) => void} say
 * @returns {string[]} those that cannot be had
 */
export function ensurePrograms(packages, say) {
  const wanted = missing(packages);
  if (wanted.length === 0) return [];
  const command = ['apt-get', 'install', '-y', '--no-install-recommends', ...wanted];
  if (process.getuid() !== 0 || !isThere('apt-get')) {
    say(`missing: ${wanted.join(', ')}. Install with: sudo ${command.join(' ')}`);
    return wanted;
  }
  say(`missing: ${wanted.join(', ')}. Installing: ${command.join(' ')}`);
  withoutServices(services, () => {
    // A machine that never updated its lists knows no packages.
    if (run(command) !== 0 && run(['apt-get', 'update']) === 0) run(command);
    // One that this Debian does not know keeps no other out.
    for (const each of missing(wanted)) run(['apt-get', 'install', '-y', '--no-install-recommends', each]);
  });
  const left = missing(wanted);
  if (left.length > 0) say(`cannot be had: ${left.join(', ')}`);
  return left;
}

/**
 * Whether a package of Debian's, or the program it is wanted for, is on this machine.
 * @param {string} name
 */
export function hasProgram(name) {
  return isThere(marks[name] ?? name);
}

function missing(packages) {
  return [...new Set(packages)].filter((name) => !hasProgram(name));
}

function isThere(mark) {
  if (isAbsolute(mark)) return existsSync(mark);
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, mark), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function run([command, ...args]) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  // Standard output is for results.
  return spawnSync(command, args, { env, stdio: ['ignore', process.stderr, process.stderr] }).status;
}
