import { describe, expect, test } from 'vitest';
import { startAnnouncer } from '../../src/edge/announcer.ts';
import { decodeMessage } from '../../src/wire/control-message.ts';

/** A router's words as the replicas get them, and its one timer. */
function announcerUnderTest() {
  const said: unknown[] = [];
  const answers: unknown[] = [];
  let due: { readonly ms: number; readonly callback: () => void } | null = null;
  const announcer = startAnnouncer({
    seal: (body) => Uint8Array.of(7, ...body),
    send(datagram) {
      expect(datagram[0]).toBe(7);
      const message = decodeMessage(datagram.subarray(1));
      if (!message.ok || message.value.kind !== 'routed') throw new Error('something else');
      said.push(message.value.members);
    },
    sendTo(name, datagram) {
      const message = decodeMessage(datagram.subarray(1));
      if (message.ok) answers.push([name, message.value]);
    },
    wakeAfter(ms, callback) {
      const own = { ms, callback };
      due = own;
      return () => {
        if (due === own) due = null;
      };
    },
  });
  return { announcer, said, answers, due: () => due, wake: () => due?.callback() };
}

describe('what a router tells the replicas', () => {
  test('is said when it starts, when it changes, again four times within a second, and once a second', () => {
    const { announcer, said, due, wake } = announcerUnderTest();
    expect(said).toEqual([[]]);
    const members = [{ name: 'web1', epoch: 7 }];
    announcer.say(members);
    const pauses = Array.from({ length: 6 }, () => {
      const ms = due()?.ms;
      wake();
      return ms;
    });
    expect(pauses).toEqual([250, 250, 250, 250, 1000, 1000]);
    expect(said).toEqual([[], ...Array(7).fill(members)]);
    announcer.say([]);
    expect(due()?.ms).toBe(250);
  });

  test('answers the replica that has named its flows, and nobody else', () => {
    const { announcer, said, answers } = announcerUnderTest();
    announcer.answer('web1', { session: 5, number: 3 });
    expect(answers).toEqual([['web1', { kind: 'tagged', session: 5, number: 3 }]]);
    expect(said).toHaveLength(1);
  });

  test('ends with it', () => {
    const { announcer, said, due, wake } = announcerUnderTest();
    announcer.say([{ name: 'web1', epoch: 7 }]);
    announcer.stop();
    expect(due()).toBeNull();
    wake();
    expect(said).toHaveLength(2);
  });
});
