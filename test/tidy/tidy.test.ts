import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { complaintsAbout, complaintsAboutTree } from './tidy.ts';

test('the source keeps the house rules', () => {
  expect(complaintsAboutTree(fileURLToPath(new URL('../../src', import.meta.url)))).toEqual([]);
});

test.each([
  [
    'an import against the direction',
    'base/a.ts',
    "import { x } from '../policy/x.ts';",
    'base must not import policy',
  ],
  [
    'a dynamic import against the direction',
    'control/a.ts',
    "await import('../platform/x.ts');",
    'control must not import platform',
  ],
  [
    'a file of a folder of which another file may be imported',
    'sim/a.ts',
    "import { x } from '../agent/daemon.ts';",
    'sim must not import agent',
  ],
  [
    'a Node module outside the platform',
    'control/a.ts',
    "import { readFileSync } from 'node:fs';",
    'control is pure and imports node:fs',
  ],
  ['a library in the wrong place', 'space/a.ts', "import { z } from 'zod';", 'space does not use the library zod'],
  [
    'a clock in a pure folder',
    'control/a.ts',
    'const now = Date.now();',
    'control is pure: time, randomness and the process are arguments',
  ],
  [
    'a timer in a pure folder',
    'policy/a.ts',
    'setTimeout(() => {}, 1);',
    'policy is pure: time, randomness and the process are arguments',
  ],
  [
    'randomness in a pure folder',
    'wire/a.ts',
    'return Math.random();',
    'wire is pure: time, randomness and the process are arguments',
  ],
  ['a folder that the layout does not know', 'stuff/a.ts', '', 'src has no folder "stuff" in its layout'],
  ['a vague name', 'base/string-utils.ts', '', 'a file is named for the one thing it holds'],
  ['a file that is too long', 'base/a.ts', '\n'.repeat(401), '401 lines, at most 400'],
  ['a suppressed diagnostic', 'base/a.ts', '// @ts-ignore', 'no suppressed diagnostics'],
  [
    'a function that is too long',
    'base/a.ts',
    `function long(): void {\n${'  x();\n'.repeat(60)}}\n`,
    'function long has 62 lines, at most 60',
  ],
])('%s is complained about', (_what, path, text, rule) => {
  const complaints = complaintsAbout(path, text);
  expect(complaints).toHaveLength(1);
  expect(complaints[0]).toContain(rule);
});

test('a good file is not complained about', () => {
  const good =
    "import { z } from 'zod';\nimport { accepts } from '../space/filter.ts';\n/** As Date.now() would say. */\nexport const a = 1;\n";
  expect(complaintsAbout('policy/a.ts', good)).toEqual([]);
});
