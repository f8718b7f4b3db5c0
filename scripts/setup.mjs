// Everything `npm start` and `npm test` need, done or asked for in one line. Nothing is imported here that `npm ci` would have to bring.
// `--test` also wants the programs that only the tests use.
import { execFileSync, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withoutServices } from './without-services.mjs';

/** Debian's packages, with a program or a library of each by which it is known to be there. */
const packages = {
  iproute2: 'ip',
  nftables: 'libnftables.so.1',
  'util-linux': 'unshare',
};
/** Those of the tests: real clients and servers among them. */
const packagesOfTests = {
  curl: 'curl',
  wrk: 'wrk',
  openssl: 'openssl',
  bsdutils: 'script',
  'nginx-light': 'nginx',
  'openssh-client': 'ssh',
  'openssh-server': 'sshd',
  postgresql: 'pg_ctlcluster',
  iperf3: 'iperf3',
  tshark: 'tshark',
  'bind9-dnsutils': 'dig',
  'bind9-utils': 'named-checkzone',
  knot: 'knotd',
  'knot-dnssecutils': 'kzonecheck',
  unbound: 'unbound',
};
/** Services that their packages would start, and start again with the machine. */
const services = ['nginx', 'ssh', 'postgresql', 'knot', 'unbound'];

const root = fileURLToPath(new URL('..', import.meta.url));
const testing = process.argv.includes('--test');

checkNode();
installSystemPackages();
installModules();
build();

function checkNode() {
  const wanted = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).engines.node.replace('>=', '');
  const numbers = (text) => text.split('.').map(Number);
  const [major, minor] = numbers(process.versions.node);
  const [majorMin, minorMin] = numbers(wanted);
  if (major > majorMin || (major === majorMin && minor >= minorMin)) return;
  fail(`Node ${process.versions.node} is too old, ${wanted} or newer is needed`);
}

function installSystemPackages() {
  const wanted = { ...packages, ...(testing ? packagesOfTests : {}) };
  const isThere = (mark) => (mark.includes('.so.') ? hasLibrary(mark) : hasCommand(mark));
  const missing = Object.keys(wanted).filter((name) => !isThere(wanted[name]));
  if (missing.length === 0) return;
  const install = ['apt-get', 'install', '-y', '--no-install-recommends', ...missing];
  if (process.getuid() !== 0 || !hasCommand('apt-get')) {
    if (!testing && !hasNamespaces())
      return say(`missing: ${missing.join(', ')}; what this user can be shown needs none of it`);
    fail(`missing: ${missing.join(', ')}. Install with: sudo ${install.join(' ')}`);
  }
  say(`missing: ${missing.join(', ')}. Installing: ${install.join(' ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  // A machine that never updated its lists knows no packages.
  const installed = withoutServices(
    services,
    () => run(install, env) === 0 || (run(['apt-get', 'update'], env) === 0 && run(install, env) === 0),
  );
  if (!installed) fail(`could not be installed: ${missing.join(', ')}`);
}

/** Without root and user namespaces the demo is one of group delivery, which asks nothing of the system. */
function hasNamespaces() {
  return process.getuid() === 0 || spawnSync('unshare', ['-Urn', 'true'], { stdio: 'ignore' }).status === 0;
}

function installModules() {
  const installed = join(root, 'node_modules', '.package-lock.json');
  const upToDate =
    existsSync(installed) && statSync(installed).mtimeMs >= statSync(join(root, 'package-lock.json')).mtimeMs;
  if (upToDate) return;
  say('installing npm packages');
  if (run(['npm', 'ci', '--no-audit', '--no-fund']) !== 0) fail('npm ci failed');
}

function build() {
  say('building');
  if (
    run([process.execPath, join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.build.json']) !== 0
  ) {
    fail('the build failed');
  }
}

function hasCommand(name) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function hasLibrary(name) {
  for (const ldconfig of ['ldconfig', '/sbin/ldconfig']) {
    try {
      return execFileSync(ldconfig, ['-p'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).includes(name);
    } catch {
      // Not in this user's PATH.
    }
  }
  return false;
}

function run([command, ...args], env = process.env) {
  return spawnSync(command, args, { cwd: root, env, stdio: 'inherit' }).status;
}

function say(line) {
  process.stdout.write(`setup: ${line}\n`);
}

function fail(line) {
  process.stderr.write(`setup: ${line}\n`);
  process.exit(1);
}
