// ucarp, with the address on the host that was there first.
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { serviceAddress } from '../segment.mjs';
import { virtualAddressCrash } from './virtual-address.mjs';

/** @param {{ isTuned?: boolean }} how without it, the defaults */
export function ucarpCrash(how) {
  return virtualAddressCrash('ucarp', (host, directory) => ucarp(host, directory, how));
}

/** It adds no address itself: two scripts do. */
function ucarp({ name, address }, directory, { isTuned = false }) {
  const script = (change) => {
    const file = join(directory, `${name}-${change}`);
    writeFileSync(file, `#!/bin/sh\nexec ip address ${change} ${serviceAddress}/16 dev eth0\n`);
    chmodSync(file, 0o755);
    return file;
  };
  const scripts = [`--upscript=${script('add')}`, `--downscript=${script('delete')}`];
  const identity = ['--interface=eth0', `--srcip=${address}`, '--vhid=51', '--pass=bench', `--addr=${serviceAddress}`];
  return ['ucarp', ...identity, ...scripts, ...(isTuned ? tuned : [])];
}

/**
 * The shortest time-out that holds: two adverts, which come once a second. With --advbase 0 and a skew alone, fractions of a second, both hosts take the address in turn, as each
 * reads what it receives once a second; with --deadratio 1 an advert that is late makes two masters.
 */
const tuned = ['--advbase=1', '--deadratio=2'];
