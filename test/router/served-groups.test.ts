import { describe, expect, test } from 'vitest';
import { JoinChecks } from '../../src/router/join-checks.ts';
import { instant, ip, joinPacket, PrivateGroup, portsUnderTest } from './joins-under-test.ts';

describe('a group that this router does not serve', () => {
  const { admission, web1 } = new PrivateGroup();
  const checks = new JoinChecks({
    ...portsUnderTest([admission]),
    isServed: (group) => group.value === admission.group.value,
  });

  test('is joined by others for reasons of their own: nothing is judged, nothing counted', () => {
    const now = instant(Date.now());
    const timeMs = now.wallMs;
    const judged = checks.receive(joinPacket(web1, { group: ip('239.1.9.8'), timeMs }), 'lan', now);
    expect(judged).toEqual({ kind: 'report', joins: [], refusals: [] });
    expect(checks.refused).toEqual(new Map());
    expect(checks.receive(joinPacket(web1, { timeMs }), 'lan', now)).toMatchObject({ joins: [{ replica: 'web1' }] });
  });
});
