import { expect, test } from 'vitest';
import { noRouting, routingMeasures } from '../../src/scenario/routing.ts';

test('refused joins are measured by reason, and together', () => {
  expect(routingMeasures({ ...noRouting, refused: { unsigned: 2, 'wrong-link': 3 } })).toMatchObject({
    ...{ 'joins.refused': 5, 'joins.refused.unsigned': 2, 'joins.refused.wrong-link': 3, 'joins.refused.signature': 0 },
  });
});

test('without routers all is 0', () => {
  expect(new Set(Object.values(routingMeasures(noRouting)))).toEqual(new Set([0]));
});
