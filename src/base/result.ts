/** The outcome of reading bytes or text that may be hostile or wrong: a value, or the reason it is refused. Never thrown. */
export type Result<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: string };

export function ok<T>(value: T): Result<T> {
  return { ok: true, value };
}

export function refuse<T>(reason: string): Result<T> {
  return { ok: false, reason };
}
