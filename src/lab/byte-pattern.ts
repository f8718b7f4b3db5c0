/** Longer than any shift that is told apart, and a prime, so that no buffer size divides it. */
const period = 65_521;
/** So many bytes occur once in a period, but for accidents. */
const landmark = 16;

const table = twoPeriods();

/** The bytes of a stream from `offset` on; at most a period of them. */
export function patternAt(offset: number, length: number): Uint8Array {
  const begin = offset % period;
  return table.subarray(begin, begin + Math.min(length, period));
}

/** Follows a stream of the pattern. */
export interface PatternCheck {
  /** The next bytes, as they come. */
  take(chunk: Uint8Array): void;
  /** Bytes that came. */
  readonly received: number;
  /** Bytes that are missing, came twice or are others. */
  readonly wrong: number;
  /** Where in the pattern the next byte should be. */
  readonly offset: number;
}

/** A byte that is missing or doubled shifts the rest: the check finds where the stream goes on, and counts the shift once. */
export function createPatternCheck(
  from: Omit<PatternCheck, 'take'> = { received: 0, wrong: 0, offset: 0 },
): PatternCheck {
  let { received, wrong, offset } = from;
  return {
    take(chunk: Uint8Array): void {
      received += chunk.length;
      let at = 0;
      while (at < chunk.length) {
        const rest = chunk.subarray(at, at + period);
        const same = commonLength(rest, patternAt(offset, rest.length));
        at += same;
        offset += same;
        if (same === rest.length) continue;
        const shift = shiftOf(chunk.subarray(at, at + landmark), offset);
        if (shift === null) {
          wrong++;
          at++;
          offset++;
        } else {
          wrong += Math.abs(shift);
          offset += shift;
        }
      }
    },
    get received() {
      return received;
    },
    get wrong() {
      return wrong;
    },
    get offset() {
      return offset;
    },
  };
}

/** How much later in the stream these bytes belong than `offset`, the shortest way; null when they are no part of it, or `offset` is right. */
function shiftOf(bytes: Uint8Array, offset: number): number | null {
  if (bytes.length < landmark) return null;
  const found = Buffer.from(table.buffer, table.byteOffset, table.length).indexOf(bytes);
  if (found < 0) return null;
  const ahead = (((found - offset) % period) + period) % period;
  const shift = ahead > period / 2 ? ahead - period : ahead;
  // Before the beginning of the stream there is nothing that could come twice.
  return shift === 0 || offset + shift < 0 ? null : shift;
}

function commonLength(one: Uint8Array, other: Uint8Array): number {
  if (Buffer.compare(one, other) === 0) return one.length;
  return one.findIndex((byte, i) => byte !== other[i]);
}

/** Any window of one period from any begin within the first. */
function twoPeriods(): Uint8Array {
  const bytes = new Uint8Array(2 * period);
  let state = 1;
  for (let i = 0; i < period; i++) {
    // Numerical Recipes' generator; its high bits are good enough to tell places apart.
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = state >>> 24;
  }
  bytes.copyWithin(period, 0, period);
  return bytes;
}
