import { formatIp, type IpAddress, parseIp } from '../base/address.ts';
import { oneLine } from '../base/one-line.ts';
import { ok, type Result, refuse } from '../base/result.ts';

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

/** A filter as `formatFilter` writes it, with no bit in its value that its mask does not have. */
export function parseFilter(text: string): Result<Filter> {
  const [value, mask, ...rest] = text.split('/').map(parseIp);
  if (!value?.ok || !mask?.ok || rest.length > 0 || value.value.family !== mask.value.family)
    return refuse(`"${oneLine(text)}" is not a filter such as "0.0.0.4/0.0.0.7"`);
  if ((value.value.value & ~mask.value.value) !== 0n)
    return refuse(`${text}: the value has bits that its mask has not`);
  return ok({ value: value.value, mask: mask.value });
}
