import { ok, type Result, refuse } from '../base/result.ts';
import { encodeMessage, type Part, partBytesMax } from '../wire/control-message.ts';

/** The bodies that carry `value`, in parts that each fit a datagram. */
export function partsOf(content: Part['content'], transfer: number, value: Uint8Array): Uint8Array[] {
  const count = Math.ceil(value.length / partBytesMax);
  return Array.from({ length: count }, (_, index) =>
    encodeMessage({
      kind: 'part',
      content,
      transfer,
      length: value.length,
      index,
      bytes: value.subarray(index * partBytesMax, (index + 1) * partBytesMax),
    }),
  );
}

/** Puts parts together, one value at a time of each sender: a new transfer takes the place of an unfinished one. */
export interface Assembly {
  /** The whole value when this was its last missing part, null before. `session` is that of the life of the sender, which begins to count its transfers anew. */
  add(sender: string, session: number, part: Part): Result<Uint8Array | null>;
}

interface Unfinished {
  readonly session: number;
  readonly part: Part;
  readonly value: Uint8Array;
  readonly missing: Set<number>;
}

export function createAssembly(): Assembly {
  const unfinished = new Map<string, Unfinished>();
  return {
    add(sender, session, part) {
      const count = Math.ceil(part.length / partBytesMax);
      const expected = part.index === count - 1 ? part.length - part.index * partBytesMax : partBytesMax;
      if (part.index >= count || part.bytes.length !== expected) return refuse('part out of place');
      let open = unfinished.get(sender);
      if (open?.session !== session || open.part.transfer !== part.transfer || open.part.content !== part.content) {
        open = {
          ...{ session, part },
          value: new Uint8Array(part.length),
          missing: new Set(Array.from({ length: count }, (_, i) => i)),
        };
        unfinished.set(sender, open);
      }
      if (open.part.length !== part.length) return refuse('part of another length');
      open.value.set(part.bytes, part.index * partBytesMax);
      open.missing.delete(part.index);
      if (open.missing.size > 0) return ok(null);
      unfinished.delete(sender);
      return ok(open.value);
    },
  };
}
