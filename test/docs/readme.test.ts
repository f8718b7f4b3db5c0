import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, normalize } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readAgentConfig } from '../../src/agent/config.ts';
import { parsePolicy } from '../../src/policy/index.ts';
import { readScenario, unfitForSim } from '../../src/scenario/index.ts';

const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
afterAll(() => rmSync(directory, { recursive: true }));

const readme = readFileSync('README.md', 'utf8');
const [agentYaml = '', policyYaml = ''] = [...readme.matchAll(/^ *```yaml\n([\s\S]*?)^ *```$/gm)].map(
  ([, block = '']) => block.replaceAll(/^ {3}/gm, ''),
);

test('the agent.yaml of the README is good', () => {
  const file = join(directory, 'agent.yaml');
  writeFileSync(file, agentYaml);
  expect(readAgentConfig(file)).toMatchObject({ node: 'web1', service: { name: 'web' } });
});

test('the policy.yaml of the README is good, and names the replicas of its agent.yaml', () => {
  expect(parsePolicy(policyYaml, 256)).toMatchObject({
    ok: true,
    value: { weights: { web1: 50, web2: 25, web3: 25 } },
  });
});

test('the npm scripts that the pages name exist', () => {
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> };
  const pages = ['README.md', 'CONTRIBUTING.md', 'docs/ARCHITECTURE.md']
    .map((page) => readFileSync(page, 'utf8'))
    .join('\n');
  const named = [...pages.matchAll(/npm run ([a-z:]+)/g)].map(([, name = '']) => name);
  expect(named.filter((name) => !(name in scripts))).toEqual([]);
});

test.each(['README.md', 'CONTRIBUTING.md', 'docs/ARCHITECTURE.md', 'scenarios/README.md'])(
  'the links of %s lead somewhere',
  (page) => {
    const targets = [...readFileSync(page, 'utf8').matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)].map(
      ([, target = '']) => target,
    );
    const local = targets.filter((target) => !target.startsWith('http'));
    expect(local.filter((target) => !existsSync(normalize(join(dirname(page), target))))).toEqual([]);
  },
);

test('scenarios/README.md lists every scenario, and says of each whether the simulator runs it', () => {
  const page = readFileSync('scenarios/README.md', 'utf8');
  const files = readdirSync('scenarios', { recursive: true, encoding: 'utf8' }).filter((each) =>
    each.endsWith('.yaml'),
  );
  for (const file of files) {
    const unfit = unfitForSim(readScenario(join('scenarios', file))) !== null;
    if (file.includes('/')) expect(page.includes(`(${file}) (not on sim)`), file).toBe(unfit);
    else
      expect(
        page.split('\n').find((line) => line.includes(`](${file})`)),
        file,
      ).toMatch(unfit ? /no \|$/ : /yes \|$/);
    expect(page).toContain(`](${file})`);
  }
});
