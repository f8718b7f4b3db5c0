// Installing packages without starting what they bring: who runs tests or compares programs wants no servers on the machine.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

/** Asked by every package of Debian before it starts a service; 101 is no. */
const policy = '/usr/sbin/policy-rc.d';
const refusal =
  '#!/bin/sh\n# Stands while manycast installs packages; one that is left over may be deleted.\nexit 101\n';

/**
 * Services that are new after `install` are neither started now nor with the machine. An interrupt ends this process, but not before all is as it was.
 * @template T
 * @param {string[]} services that the packages may bring
 * @param {() => T} install waits for what it starts
 * @returns {T}
 */
export function withoutServices(services, install) {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));
  const enabled = (name) => spawnSync('systemctl', ['is-enabled', '--quiet', name], { stdio: 'ignore' }).status === 0;
  const before = services.filter(enabled);
  const mine = !existsSync(policy) || readFileSync(policy, 'utf8') === refusal;
  if (mine) writeFileSync(policy, refusal, { mode: 0o755 });
  try {
    return install();
  } finally {
    if (mine) rmSync(policy);
    const fresh = services.filter((name) => !before.includes(name) && enabled(name));
    if (fresh.length > 0) spawnSync('systemctl', ['disable', '--quiet', ...fresh], { stdio: 'ignore' });
  }
}
