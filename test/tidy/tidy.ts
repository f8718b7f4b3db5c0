import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Folders of `src`, each with the folders it may import, or single files of them. `node` says that it may touch Node's modules, clocks, timers and randomness; all
 * others are pure. The order is that of docs/ARCHITECTURE.md.
 */
const layers: Readonly<Record<string, { readonly imports: readonly string[]; readonly node?: true }>> = {
  base: { imports: [] },
  space: { imports: ['base'] },
  wire: { imports: ['base', 'space'] },
  policy: { imports: ['base', 'space'] },
  identity: { imports: ['base', 'space', 'wire'] },
  router: { imports: ['base', 'space', 'wire', 'identity'] },
  registry: { imports: ['base', 'wire', 'identity'] },
  dataplane: { imports: ['base', 'space'] },
  control: { imports: ['base', 'wire', 'space', 'policy', 'dataplane'] },
  handoff: { imports: ['base', 'wire', 'space'] },
  ports: { imports: ['base', 'wire', 'space', 'policy', 'control', 'handoff', 'dataplane'] },
  platform: {
    imports: [
      ...['base', 'wire', 'space', 'policy', 'identity', 'router', 'registry', 'control', 'handoff', 'dataplane'],
      'ports',
    ],
    node: true,
  },
  sdk: { imports: ['base', 'space', 'dataplane', 'platform'], node: true },
  lab: { imports: ['base', 'space', 'platform', 'ports', 'wire', 'sdk', 'dataplane/forwarding-table.ts'], node: true },
  scenario: {
    imports: [
      ...['base', 'space', 'policy', 'platform', 'ports', 'lab'],
      ...['wire', 'identity/join.ts', 'router/join-checks.ts'],
    ],
    node: true,
  },
  agent: {
    imports: [
      ...['base', 'wire', 'space', 'policy', 'identity', 'router', 'control', 'handoff', 'dataplane', 'ports'],
      ...['platform', 'sdk'],
    ],
    node: true,
  },
  edge: {
    imports: [
      ...['base', 'wire', 'space', 'router', 'dataplane', 'platform'],
      ...['control/replay.ts', 'control/transfer.ts'],
      ...['agent/config.ts', 'agent/control-socket.ts', 'agent/member-channel.ts'],
    ],
    node: true,
  },
  dns: { imports: ['base', 'wire', 'identity', 'registry', 'platform'], node: true },
  sim: { imports: ['base', 'wire', 'space', 'policy', 'control', 'handoff', 'dataplane', 'ports', 'agent/driver.ts'] },
  cli: {
    imports: [
      ...['base', 'space', 'policy', 'identity', 'registry', 'platform', 'lab', 'scenario'],
      ...['agent', 'edge', 'dns', 'sim'],
    ],
    node: true,
  },
};

const libraries: Readonly<Record<string, readonly string[]>> = {
  zod: ['base', 'policy', 'registry', 'platform', 'scenario', 'agent', 'edge'],
  yaml: ['base', 'dns', 'lab', 'scenario'],
  koffi: ['platform'],
  'node-forge': ['identity'],
  pino: ['agent', 'edge', 'cli'],
  commander: ['cli'],
};

const linesMax = 400;
const functionLinesMax = 60;
const clocksAndRandomness =
  /\b(Date\.now|new Date\(|performance\.|setTimeout|setInterval|setImmediate|queueMicrotask|Math\.random|crypto\.|process\.)/;
const vagueNames = /(utils?|helpers?|manager|common|misc)\b/i;

/** Every house rule that a file breaks, one line each; `path` is relative to `src`. */
export function complaintsAbout(path: string, text: string): string[] {
  const folder = path.split('/')[0] ?? '';
  const layer = layers[folder];
  if (!layer) return [`${path}: src has no folder "${folder}" in its layout`];
  const lines = text.split('\n');
  const complaints: string[] = [];
  const complain = (rule: string, line: number): void => void complaints.push(`${path}:${line + 1}: ${rule}`);

  if (lines.length - 1 > linesMax) complain(`${lines.length - 1} lines, at most ${linesMax}`, 0);
  if (vagueNames.test(path.split('/').at(-1) ?? '')) complain('a file is named for the one thing it holds', 0);
  for (const [at, line] of lines.entries()) {
    const specifier = /(?:from|import|import\()\s*'([^']+)'/.exec(line)?.[1];
    if (specifier) {
      const rule = importRule(folder, layer, path, specifier);
      if (rule) complain(rule, at);
    }
    if (!layer.node && clocksAndRandomness.test(line.replace(/\/\/.*|^\s*\*.*|^\s*\/\*\*.*/, ''))) {
      complain(`${folder} is pure: time, randomness and the process are arguments`, at);
    }
    if (/@ts-(ignore|expect-error|nocheck)|biome-ignore/.test(line)) complain('no suppressed diagnostics', at);
  }
  for (const { name, at, length } of longFunctions(lines)) {
    complain(`function ${name} has ${length} lines, at most ${functionLinesMax}`, at);
  }
  return complaints;
}

/** Paths below `src` of every TypeScript file. */
export function sourceFiles(src: string): string[] {
  return readdirSync(src, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && statSync(join(src, path)).isFile())
    .sort();
}

export function complaintsAboutTree(src: string): string[] {
  return sourceFiles(src).flatMap((path) => complaintsAbout(path, readFileSync(join(src, path), 'utf8')));
}

function importRule(folder: string, layer: (typeof layers)[string], path: string, specifier: string): string | null {
  if (specifier.startsWith('node:')) return layer?.node ? null : `${folder} is pure and imports ${specifier}`;
  if (!specifier.startsWith('.')) {
    const library = specifier.split('/')[0] ?? '';
    return libraries[library]?.includes(folder) ? null : `${folder} does not use the library ${specifier}`;
  }
  const file = new URL(specifier, `file:///${path}`).pathname.slice(1);
  const target = file.split('/')[0] ?? '';
  const allowed = target === folder || layer?.imports.includes(target) || layer?.imports.includes(file);
  return allowed ? null : `${folder} must not import ${target}`;
}

/** Top-level and nested named functions by their closing brace at the same indentation. */
function longFunctions(lines: readonly string[]): { name: string; at: number; length: number }[] {
  return lines.flatMap((line, at) => {
    const match = /^(\s*)(?:export )?(?:async )?function\*? (\w+)/.exec(line);
    if (!match) return [];
    const end = lines.findIndex((each, i) => i > at && each === `${match[1]}}`);
    const length = end - at + 1;
    return end > 0 && length > functionLinesMax ? [{ name: match[2] ?? '', at, length }] : [];
  });
}
