import type { Socket } from 'node:dgram';

/** The descriptor of a bound socket, Node's to close; -1 when there is none. node:dgram shows it to nobody, so it is looked for where Node keeps it (since version 10). */
export function descriptorOfDatagramSocket(socket: Socket): number {
  const held = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'state symbol');
  if (held === undefined) return -1;
  const state: unknown = Reflect.get(socket, held);
  const handle: unknown = isObject(state) ? Reflect.get(state, 'handle') : null;
  const descriptor: unknown = isObject(handle) ? Reflect.get(handle, 'fd') : null;
  return typeof descriptor === 'number' ? descriptor : -1;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
