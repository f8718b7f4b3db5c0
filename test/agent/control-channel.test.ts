import { describe, expect, test } from 'vitest';
import type { AgentConfig } from '../../src/agent/config.ts';
import { type ControlChannel, createControlChannel } from '../../src/agent/control-channel.ts';
import { createMemoryStore } from './memory-store.ts';

const key = new Uint8Array(32).fill(7);
const otherKey = new Uint8Array(32).fill(8);
const body = Uint8Array.of(1, 2, 3);
const control = { peers: { r1: '10.0.0.1', r2: '10.0.0.2' } };

function channel(
  node: string,
  overrides: { cluster?: string; partition?: string; keyring?: Uint8Array[] } = {},
): ControlChannel {
  const service = { name: 'web', address: '203.0.113.10', partition: overrides.partition ?? '0.0.0.255' };
  const config = {
    cluster: overrides.cluster ?? 'site1',
    node,
    service,
    control,
    routers: {},
  } as unknown as AgentConfig;
  return createControlChannel(config, overrides.keyring ?? [key], createMemoryStore());
}

describe('the control channel', () => {
  test('opens what a holder of the key sealed', () => {
    const opened = channel('r2').open(channel('r1').seal(body));
    expect(opened).toMatchObject({ ok: true, value: { sender: 'r1', counter: 0, body } });
  });

  test('counts what it seals', () => {
    const [sender, receiver] = [channel('r1'), channel('r2')];
    const counters = [1, 2, 3].map(() => {
      const opened = receiver.open(sender.seal(body));
      return opened.ok ? opened.value?.counter : opened.reason;
    });
    expect(counters).toEqual([0, 1, 2]);
  });

  test.each([
    ['another key', { keyring: [otherKey] }, 'not authentic'],
    ['another cluster', { cluster: 'site2' }, 'another cluster'],
    ['another idea of what a slot is', { partition: '0.0.0.15' }, 'another cluster'],
  ])('refuses %s', (_what, overrides, reason) => {
    expect(channel('r2').open(channel('r1', overrides).seal(body))).toEqual({ ok: false, reason });
  });

  test('refuses a datagram of which any byte was changed', () => {
    const sealed = channel('r1').seal(body);
    for (let at = 0; at < sealed.length; at++) {
      const tampered = sealed.slice();
      tampered[at] = (tampered[at] ?? 0) ^ 1;
      expect(channel('r2').open(tampered).ok, `byte ${at}`).toBe(false);
    }
  });

  test('verifies with every key of the ring and signs with the first', () => {
    const rotating = channel('r2', { keyring: [otherKey, key] });
    expect(rotating.open(channel('r1').seal(body)).ok).toBe(true);
    expect(channel('r1').open(rotating.seal(body)).ok).toBe(false);
  });

  test('a key is changed without a gap: added, used, removed, one replica after the other', () => {
    const replicas = ['r1', 'r2', 'r3'].map((node) => channel(node));
    for (const ring of [[key, otherKey], [otherKey, key], [otherKey]]) {
      for (const changed of replicas) {
        changed.rekey(ring);
        for (const sender of replicas) {
          const sealed = sender.seal(body);
          expect(replicas.map((receiver) => receiver.open(sealed).ok)).toEqual([true, true, true]);
        }
      }
    }
    expect(channel('r4').open((replicas[0] ?? channel('r1')).seal(body)).ok).toBe(false);
  });

  test('a later life has a higher session', () => {
    const store = createMemoryStore();
    const config = {
      cluster: 'site1',
      node: 'r1',
      service: { name: 'web', address: '203.0.113.10', partition: '0.0.0.255' },
    } as AgentConfig;
    const sessions = [1, 2, 3].map(() => createControlChannel(config, [key], store).session);
    expect(sessions[1]).toBeGreaterThan(sessions[0] ?? 0);
    expect(sessions[2]).toBeGreaterThan(sessions[1] ?? 0);
  });
});
