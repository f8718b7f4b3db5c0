import fc from 'fast-check';
import { expect, test } from 'vitest';
import { defined } from '../../src/base/assert.ts';
import { createAssembly, partsOf } from '../../src/control/transfer.ts';
import { decodeMessage, type Part } from '../../src/wire/control-message.ts';

function decoded(value: Uint8Array, transfer = 1): Part[] {
  return partsOf('ledger', transfer, value).map((body) => {
    const message = decodeMessage(body);
    return defined(message.ok && message.value.kind === 'part' ? message.value : null, 'a part');
  });
}

test('parts that come in any order, some of them twice, make the value', () => {
  const anyValue = fc.uint8Array({ minLength: 1, maxLength: 5000 });
  fc.assert(
    fc.property(anyValue, fc.array(fc.nat(), { maxLength: 12 }), (value, swaps) => {
      const parts = decoded(value);
      const order = [...swaps.map((at) => at % parts.length), ...parts.keys()];
      const assembly = createAssembly();
      const answers = order.map((at) => assembly.add('r1', 1, defined(parts[at], 'a part')));
      expect(answers.filter((answer) => answer.ok && answer.value)[0]).toEqual({ ok: true, value });
    }),
  );
});

test('a new transfer takes the place of one that is not finished, and senders do not mix', () => {
  const [first] = decoded(new Uint8Array(2000).fill(1), 1);
  const [head, tail] = decoded(new Uint8Array(2000).fill(2), 2);
  const assembly = createAssembly();
  assembly.add('r1', 1, defined(first, 'a part'));
  assembly.add('r2', 1, defined(tail, 'a part'));
  assembly.add('r1', 1, defined(head, 'a part'));
  expect(assembly.add('r1', 1, defined(tail, 'a part'))).toEqual({ ok: true, value: new Uint8Array(2000).fill(2) });
});

test('a sender that begins anew, and so counts anew, is not mixed with its life before', () => {
  const [first] = decoded(new Uint8Array(3000).fill(1));
  const [head, tail] = decoded(new Uint8Array(2000).fill(2));
  const assembly = createAssembly();
  assembly.add('r1', 1, defined(first, 'a part'));
  expect(assembly.add('r1', 2, defined(tail, 'a part'))).toEqual({ ok: true, value: null });
  expect(assembly.add('r1', 2, defined(head, 'a part'))).toEqual({ ok: true, value: new Uint8Array(2000).fill(2) });
});

test('a part out of place or of another length is refused', () => {
  const [head] = decoded(new Uint8Array(2000), 1);
  const part = defined(head, 'a part');
  const assembly = createAssembly();
  expect(assembly.add('r1', 1, { ...part, index: 2 }).ok).toBe(false);
  expect(assembly.add('r1', 1, { ...part, bytes: new Uint8Array(3) }).ok).toBe(false);
  expect(assembly.add('r1', 1, part)).toEqual({ ok: true, value: null });
  expect(assembly.add('r1', 1, { ...part, length: 1500 }).ok).toBe(false);
});
