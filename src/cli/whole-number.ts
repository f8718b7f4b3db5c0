import { OperatingError } from '../base/operating-error.ts';

/** An option that is a whole number, of `least` to 2^32 - 1. Throws an OperatingError that names the option. */
export function wholeNumber(option: string, text: string, least = 0): number {
  if (!/^\d{1,10}$/.test(text) || Number(text) < least || Number(text) >= 2 ** 32) {
    throw new OperatingError('usage', `${option}: "${text}" is not a whole number from ${least} to 2^32 - 1`);
  }
  return Number(text);
}
