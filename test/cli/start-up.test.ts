import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { command } from '../lab/lab-under-test.ts';

const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
afterAll(() => rmSync(directory, { recursive: true }));
/** A module hook (Node's documentation, "Customization hooks") that tells the address of each module as it is loaded. */
const hooks = join(directory, 'hooks.mjs');
writeFileSync(
  hooks,
  `import { writeSync } from 'node:fs';
export async function load(url, context, next) {
  writeSync(2, 'loaded ' + url + '\\n');
  return next(url, context);
}
`,
);
const registered = join(directory, 'registered.mjs');
writeFileSync(
  registered,
  `import { register } from 'node:module'; register(${JSON.stringify(pathToFileURL(hooks).href)});`,
);

/** What a command loads of this project, by path within it, and of which packages. */
async function loadedBy(...args: string[]): Promise<{ own: string[]; packages: string[] }> {
  const stderr = await new Promise<string>((resolve) => {
    execFile(process.execPath, ['--import', registered, command, ...args], (_error, _stdout, said) => resolve(said));
  });
  const loaded = [...stderr.matchAll(/^loaded file:.*$/gm)].map(([line]) => line);
  const packages = loaded.flatMap((line) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(line)?.[1] ?? []);
  const own = loaded.flatMap((line) => (line.includes('/node_modules/') ? [] : (/\/dist\/(.*)/.exec(line)?.[1] ?? [])));
  return { own, packages: [...new Set(packages)].sort() };
}

describe('what a command loads', () => {
  // A person, or a monitor once a second, waits for these; schemas, native code, certificates and logs take longer to load than all the rest.
  test.each([
    ['status', ['status', '--socket', join(directory, 'none.sock')]],
    ['drain', ['drain', 'r1', '--socket', join(directory, 'none.sock')]],
    ['router status', ['router', 'status', '--socket', join(directory, 'none.sock')]],
    ['lab --help', ['lab', '--help']],
  ])('%s loads of all packages the command line alone', async (_name, args) => {
    const { own, packages } = await loadedBy(...args);
    expect(packages).toEqual(['commander']);
    expect(own).toContain('cli/main.js');
    expect(own).not.toContain('agent/daemon.js');
    expect(own).not.toContain('dataplane/nft.js');
    expect(own).not.toContain('edge/daemon.js');
  });

  test('a command that reads a configuration loads what reads it', async () => {
    const { packages } = await loadedBy('policy', 'check', join(directory, 'none.yaml'));
    expect(packages).toEqual(expect.arrayContaining(['commander', 'yaml', 'zod']));
  });
});
