import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { agentSchema } from '../agent/config.ts';
import { OperatingError } from '../base/operating-error.ts';
import { jsonSchemaOf, markdownReference } from '../base/schema-reference.ts';
import { routerSchema } from '../edge/config.ts';
import { policySchema } from '../policy/index.ts';
import { zoneSchema } from '../registry/schema.ts';
import { measureMeanings, scenarioSchema } from '../scenario/index.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** Each configuration file is one schema: what checks it also documents it. */
const files = [
  {
    name: 'agent',
    schema: agentSchema,
    intro: 'One file for each replica, read by `manycast agent -c FILE`. Paths in it are relative to it.',
  },
  {
    name: 'router',
    schema: routerSchema,
    intro: 'One file for each router, read by `manycast router -c FILE`. Paths in it are relative to it.',
  },
  {
    name: 'policy',
    schema: policySchema,
    intro:
      'How the slots are shared. Saving the file that an agent watches puts it in force on all replicas; `manycast policy plan FILE` shows first what would move.',
  },
  {
    name: 'zone',
    schema: zoneSchema,
    intro:
      'The groups that DNS tells of, answered by `manycast registry serve FILE` or exported to another server; `manycast registry add` and `remove` change it and leave comments as they are.',
  },
  {
    name: 'scenario',
    schema: scenarioSchema,
    intro: 'A topology, workloads, a timeline and expectations, run by `manycast scenario run FILE --on lab|sim`.',
  },
] as const;

/** Writes every generated page and schema. */
export async function write(): Promise<void> {
  for (const [path, content] of generated()) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
    process.stdout.write(`${path}\n`);
  }
}

/** Fails on the first file that is not what the code says. */
export async function check(): Promise<void> {
  const stale = [...generated()].filter(([path, content]) => contentOf(join(root, path)) !== content);
  if (stale.length > 0) {
    throw new OperatingError('docs', `not as generated: ${stale.map(([path]) => path).join(', ')}`, {
      remedy: 'npm run docs',
    });
  }
}

function generated(): ReadonlyMap<string, string> {
  const pages = new Map<string, string>();
  for (const { name, schema, intro } of files) {
    const title = `${name}.yaml`;
    pages.set(`schemas/${name}.schema.json`, `${JSON.stringify(jsonSchemaOf(schema, { title }), null, 2)}\n`);
    pages.set(`docs/reference/${name}.md`, markdownReference(title, intro, schema));
  }
  const measures = Object.entries(measureMeanings).map(([name, meaning]) => `| \`${name}\` | ${meaning} |`);
  const table = ['', '## Measures', '', '| measure | says |', '|---|---|', ...measures, ''].join('\n');
  pages.set('docs/reference/scenario.md', `${pages.get('docs/reference/scenario.md')}${table}`);
  return pages;
}

function contentOf(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
