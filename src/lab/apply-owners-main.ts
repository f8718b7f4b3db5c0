import { type IpAddress, parseIp } from '../base/address.ts';
import { defined } from '../base/assert.ts';
import type { NextHop } from '../dataplane/edge.ts';
import { createEdgePlane } from '../dataplane/edge-plane.ts';
import { runIp } from '../platform/ip-command.ts';
import { openNftables } from '../platform/libnftables.ts';
import { parseSlots } from '../space/index.ts';
import { partitionOf } from '../space/partition.ts';

/** Runs in the router of a lab: arguments are the service address, and for each replica its address, "=" and its slots. What it did before stands, but for what differs. */
const [service = '', ...shares] = process.argv.slice(2);
const partition = defined(orNull(partitionOf(addressOf('0.0.0.255'))), 'the default partition');
const owners = new Map<number, NextHop>();
for (const share of shares) {
  const [address = '', slots = ''] = share.split('=');
  const hop = { address: addressOf(address), device: 'eth0' };
  for (const slot of defined(orNull(parseSlots(slots, partition.slotCount)), 'slots')) owners.set(slot, hop);
}
const web = { name: 'web', address: addressOf(service), partition, owners, tags: new Map<string, NextHop>() };
const edge = createEdgePlane({ nft: openNftables(), ip: runIp });
edge.adopt([web]);
edge.apply({ services: [web] });

function addressOf(text: string): IpAddress {
  return defined(orNull(parseIp(text)), 'an address');
}

function orNull<T>(result: { readonly ok: true; readonly value: T } | { readonly ok: false }): T | null {
  return result.ok ? result.value : null;
}
