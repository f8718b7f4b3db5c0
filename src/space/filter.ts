import { formatIp, type IpAddress } from '../base/address.ts';

/** Accepts a packet when `source & mask == value`; the unit a share is written in (figure 7C, fields 760 and 770). */
export interface Filter {
  readonly value: IpAddress;
  readonly mask: IpAddress;
}

export function accepts(filter: Filter, source: IpAddress): boolean {
  return source.family === filter.mask.family && (source.value & filter.mask.value) === filter.value.value;
}

/** "0.0.0.4/0.0.0.7": value, then mask. */
export function formatFilter(filter: Filter): string {
  return `${formatIp(filter.value)}/${formatIp(filter.mask)}`;
}
