// keepalived, with the address on the host of the higher priority.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { serviceAddress } from '../segment.mjs';
import { virtualAddressCrash } from './virtual-address.mjs';

/** @param {{ advertSeconds?: number }} how without it, the defaults */
export function keepalivedCrash(how) {
  return virtualAddressCrash('keepalived', (host, directory) => keepalived(host, directory, how));
}

/** The command that runs it in the foreground, VRRP alone. */
export function keepalived({ name }, directory, { advertSeconds }) {
  const file = (ending) => join(directory, `${name}.${ending}`);
  writeFileSync(file('conf'), configuration(name === 'h1' ? 101 : 100, advertSeconds));
  return ['keepalived', '-n', '-P', '-f', file('conf'), '-p', file('keepalived.pid'), '-r', file('vrrp.pid')];
}

/** As the manual's examples; what is tuned is what its manual says of short intervals: sub-second ones need version 3, and the process must not wait for others. */
function configuration(priority, advertSeconds) {
  const isTuned = advertSeconds !== undefined;
  return `global_defs {
  ${isTuned ? 'vrrp_version 3\n  vrrp_rt_priority 50' : ''}
}
vrrp_instance service {
  state ${priority > 100 ? 'MASTER' : 'BACKUP'}
  interface eth0
  virtual_router_id 51
  priority ${priority}
  ${isTuned ? `advert_int ${advertSeconds}` : ''}
  virtual_ipaddress { ${serviceAddress}/16 dev eth0 }
}
`;
}
