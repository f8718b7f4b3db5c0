import { chmodSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type Document, parseDocument } from 'yaml';
import { messageAbout, messageOf, OperatingError } from '../base/operating-error.ts';
import { ok, type Result, refuse } from '../base/result.ts';
import { firstIssue } from '../base/schema-issue.ts';
import { readYaml } from '../base/yaml.ts';
import { type ZoneFile, zoneSchema } from '../registry/schema.ts';
import { type Registry, registryOf } from '../registry/zone.ts';

/** 60 private groups or so: what is watched is read no further. */
const bounds = { bytesMax: 128 * 1024 - 1, symbolsMax: 32_768 };

export interface ReadZone {
  readonly file: ZoneFile;
  readonly registry: Registry;
}

/** Throws an OperatingError of one clear line. */
export function readZoneFile(path: string): ReadZone {
  const read = readZone(textOf(path));
  if (!read.ok) throw new OperatingError('registry', `${path}: ${read.reason}`);
  return read.value;
}

export function readZone(text: string): Result<ReadZone> {
  const input = readYaml(text, bounds);
  if (!input.ok) return input;
  const parsed = zoneSchema.safeParse(input.value);
  if (!parsed.success) return refuse(firstIssue(zoneSchema, parsed.error, input.value));
  const registry = registryOf(parsed.data);
  return registry.ok ? ok({ file: parsed.data, registry: registry.value }) : registry;
}

/** One group of the file, as it is written. */
export interface WrittenGroup {
  readonly address: string;
  readonly owner: string;
  readonly access: 'private' | 'public';
  readonly authority?: string;
  readonly revoked?: readonly string[];
}

/**
 * Puts a group into the file, in the place of one of the same name, or removes it for null; comments stay. The serial grows by one. The file is
 * replaced in one step, and left as it is, with an OperatingError, when it would not be good any more.
 */
export function changeZoneFile(path: string, name: string, group: WrittenGroup | null): void {
  const { file } = readZoneFile(path);
  if (group === null && file.groups[name] === undefined) {
    throw new OperatingError('registry', `${path} has no group "${name}"`);
  }
  const document = parseDocument(textOf(path));
  if (group) document.setIn(['groups', name], document.createNode(group));
  else document.deleteIn(['groups', name]);
  document.set('serial', file.serial + 1);
  replace(path, document);
}

function replace(path: string, document: Document): void {
  const text = document.toString({ lineWidth: 0 });
  const read = readZone(text);
  if (!read.ok) throw new OperatingError('registry', `${path} is left as it is: ${read.reason}`);
  try {
    rmSync(`${path}.new`, { force: true });
    writeFileSync(`${path}.new`, text, { flag: 'wx', mode: 0o600 });
    // It tells what the world may know: who could read it may go on.
    chmodSync(`${path}.new`, statSync(path).mode & 0o777);
    renameSync(`${path}.new`, path);
  } catch (cause) {
    throw new OperatingError('registry', messageOf(cause), { cause });
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new OperatingError('registry', messageAbout(path, cause), {
      remedy: 'begin with the example in docs/private-groups.md',
      cause,
    });
  }
}
