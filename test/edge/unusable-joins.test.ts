import pino from 'pino';
import { expect, test } from 'vitest';
import { UnusableJoins } from '../../src/edge/unusable-joins.ts';
import { ip } from '../router/joins-under-test.ts';

test('joins of no use are one line for each group, then one with their number whenever it is asked for', () => {
  const lines: unknown[] = [];
  const log = pino({ base: null, timestamp: false }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const said = (): unknown[] => lines.splice(0);
  const joins = new UnusableJoins(log);
  const take = (count: number, group: string): void => {
    for (let i = 0; i < count; i++) {
      joins.take({ event: 'unusable', group: ip(group), member: `10.77.0.${i}`, reason: 'more than 1024 members' });
    }
  };
  const first = { member: '10.77.0.0', reason: 'more than 1024 members', msg: 'group: unusable' };
  take(200, '239.1.9.9');
  take(1, '239.1.9.8');
  expect(said()).toMatchObject([
    { group: '239.1.9.9', ...first },
    { group: '239.1.9.8', ...first },
  ]);
  joins.tell();
  expect(said()).toMatchObject([{ group: '239.1.9.9', joins: 199, msg: 'group: more are unusable' }]);
  take(50, '239.1.9.9');
  expect(said()).toEqual([]);
  joins.tell();
  expect(said()).toMatchObject([{ group: '239.1.9.9', joins: 50 }]);
  joins.tell();
  joins.tell();
  take(1, '239.1.9.9');
  expect(said()).toMatchObject([{ group: '239.1.9.9', ...first }]);
});
