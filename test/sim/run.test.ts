import { describe, expect, test } from 'vitest';
import type { Control, ControlConfig } from '../../src/control/control.ts';
import type { ControlInput, ControlOutput } from '../../src/control/io.ts';
import { realControl } from '../../src/sim/agent.ts';
import { invariants } from '../../src/sim/checkers.ts';
import { type RunResult, runSeed } from '../../src/sim/index.ts';
import { settle } from './bench.ts';

const seeds = Number(process.env.SIM_SEEDS ?? 100);
const firstSeed = Number(process.env.SIM_SEED ?? 1);
const parts = 10;

test.each(Array.from({ length: parts }, (_, part) => part))(
  'no seed breaks an invariant: part %i',
  async (part) => {
    const each = Math.ceil(seeds / parts);
    for (let seed = firstSeed + part * each; seed < firstSeed + (part + 1) * each; seed++) {
      const { violation } = await runSeed({ seed, settle });
      expect(violation, `manycast sim --seed ${seed} --trace`).toBeNull();
    }
  },
  120_000,
);

test('the same seed is the same run, to the last datagram, and another is another', async () => {
  const run = (seed: number, trace: boolean) => runSeed({ seed, settle, trace, faultsMs: 6000 });
  const [first, again, other] = [await run(5, true), await run(5, false), await run(6, false)];
  expect(again).toEqual({ ...first, lines: [] });
  expect(first.lines.length).toBeGreaterThan(50);
  expect(other.hash).not.toBe(first.hash);
});

describe('a protocol with a mistake is found out', () => {
  test('a lease that is written after it was granted opens a share that others own', async () => {
    const late = altered((outputs) =>
      outputs.flatMap((output): ControlOutput[] =>
        output.kind === 'grant' && output.fence === 'lease' && output.mark !== null
          ? [
              { kind: 'arm', fence: 'lease', mark: output.mark + 1_000_000, ms: 500 },
              { ...output, mark: output.mark + 1_000_000 },
            ]
          : [output],
      ),
    );
    // One seed in fifteen finds it.
    const { violation } = await firstViolation(late, 40, 20_000, 120);
    expect([invariants.oneTaker, invariants.release]).toContain(violation?.invariant);
  }, 120_000);

  test('an agent that obeys what was said before', async () => {
    const obedient = (config: ControlConfig): Control => {
      const heard = new Set<string>();
      const control = realControl(config);
      return {
        ...delegate(control),
        handle(input) {
          const outputs = control.handle(input);
          if (input.kind !== 'message') return outputs;
          const name = `${input.sender} ${input.session} ${input.counter}`;
          const known = heard.has(name);
          heard.add(name);
          return known ? [...outputs, { kind: 'reset', slots: new Set() }] : outputs;
        },
      };
    };
    const { violation } = await firstViolation(obedient, 1);
    expect(violation).toMatchObject({ invariant: invariants.hostile });
    expect(violation?.what).toMatch(/^a replayed datagram makes n\d want: reset$/);
  });

  test('agents that move slots for no reason', async () => {
    const restless = (config: ControlConfig): Control => {
      const control = realControl(config);
      let next = config.start + 2500;
      return {
        ...delegate(control),
        handle(input) {
          if (input.at < next) return control.handle(input);
          next += 2500;
          const weights = Object.fromEntries(
            config.peers.map((name) => [name, (name.charCodeAt(1) + next / 2500) % 3]),
          );
          const policy = {
            strategy: 'weighted',
            handoff: 'reset',
            drainDeadline: 60,
            weights: rounded(weights),
          } as const;
          const change = { kind: 'policy', policy } as const;
          return [...control.handle({ kind: 'propose', at: input.at, change }), ...control.handle(input)];
        },
      };
    };
    const { violation } = await firstViolation(restless, 20, 0);
    expect(violation).toMatchObject({ invariant: invariants.quiet });
  }, 60_000);

  test('an agent that never comes back', async () => {
    const dead = (config: ControlConfig): Control => {
      const control = realControl(config);
      if (config.node !== 'n5') return control;
      return { ...delegate(control), handle: () => [], nextTimeout: () => config.start + 1e9 };
    };
    const { violation } = await firstViolation(dead, 1, 100);
    expect(violation).toMatchObject({ invariant: invariants.liveness });
    expect(violation?.what).toMatch(/^after 12000 ms without faults n5 is waiting/);
  });

  test('an agent that breaks its own invariants', async () => {
    const broken = altered((outputs, config, { at }) => {
      if (at > config.start + 3000) throw new Error('invariant broken: a slot has an owner');
      return outputs;
    });
    const { violation } = await firstViolation(broken, 1);
    expect(violation).toMatchObject({ invariant: invariants.defect });
    expect(violation?.what).toContain('a slot has an owner');
  });

  test('an old map after a restart', async () => {
    const forgetful = altered((outputs, config, input) =>
      outputs.map((output) =>
        output.kind === 'event' && output.event.kind === 'ledger' && config.node === 'n2' && input.at > 0
          ? { kind: 'event', event: { ...output.event, epoch: 1 } }
          : output,
      ),
    );
    expect(await firstViolation(forgetful, 3)).toMatchObject({ violation: { invariant: invariants.oneMap } });
  });
});

function delegate(control: Control): Control {
  return {
    handle: (input) => control.handle(input),
    nextTimeout: () => control.nextTimeout(),
    view: () => control.view(),
  };
}

function rounded(weights: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(weights).map(([name, weight]) => [name, Math.floor(weight)]));
}

function altered(
  change: (outputs: ControlOutput[], config: ControlConfig, input: ControlInput) => ControlOutput[],
): (config: ControlConfig) => Control {
  return (config) => {
    const control = realControl(config);
    return { ...delegate(control), handle: (input) => change(control.handle(input), config, input) };
  };
}

async function firstViolation(
  createControl: (config: ControlConfig) => Control,
  count: number,
  faultsMs = 20_000,
  first = 1,
): Promise<Partial<RunResult>> {
  for (let seed = first; seed < first + count; seed++) {
    const result = await runSeed({ seed, settle, faultsMs, world: { createControl } });
    if (result.violation !== null) return result;
  }
  return { violation: null };
}
