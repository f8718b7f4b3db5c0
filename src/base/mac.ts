import { type IpAddress, isMulticast } from './address.ts';
import { assert } from './assert.ts';

/** A 48-bit link address as lower-case text, "01:00:5e:4d:00:01". */
export type MacAddress = string;

const hex = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

export const broadcastMac: MacAddress = 'ff:ff:ff:ff:ff:ff';

export function macBytes(mac: MacAddress): Uint8Array {
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac)) assert(false, `"${mac}" is a link address`);
  const bytes = new Uint8Array(6);
  for (let i = 0; i < 6; i++) bytes[i] = 16 * digit(mac, 3 * i) + digit(mac, 3 * i + 1);
  return bytes;
}

function digit(mac: MacAddress, at: number): number {
  const code = mac.charCodeAt(at);
  return code < 0x3a ? code - 0x30 : code - 0x57;
}

export function macFromBytes(bytes: Uint8Array): MacAddress {
  assert(bytes.length === 6, 'a link address has 6 bytes');
  let text = '';
  for (const byte of bytes) text += `${text && ':'}${hex[byte]}`;
  return text;
}

/** The link address that carries a multicast group: RFC 1112 section 6.4 (IPv4), RFC 2464 section 7 (IPv6). */
export function multicastMac(group: IpAddress): MacAddress {
  assert(isMulticast(group), 'a group is a multicast address');
  const low = group.family === 4 ? group.value & 0x7fffffn : group.value & 0xffffffffn;
  const value = group.family === 4 ? 0x01005e000000n | low : 0x333300000000n | low;
  return macFromBytes(Uint8Array.from({ length: 6 }, (_, i) => Number((value >> BigInt(40 - 8 * i)) & 0xffn)));
}
