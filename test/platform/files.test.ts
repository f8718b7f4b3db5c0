import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { openStateDirectory } from '../../src/platform/state-directory.ts';
import { contentOf, watchFile } from '../../src/platform/watched-file.ts';

const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
afterAll(() => rmSync(directory, { recursive: true }));

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('a state directory', () => {
  const path = join(directory, 'state');
  const store = openStateDirectory(path);

  test('keeps values by name, for its owner alone', () => {
    expect(store.read('ledger')).toBeNull();
    store.write('ledger', bytes('one'));
    store.write('ledger', bytes('two'));
    expect(new TextDecoder().decode(store.read('ledger') ?? bytes(''))).toBe('two');
    expect(statSync(path).mode & 0o777).toBe(0o700);
    expect(statSync(join(path, 'ledger')).mode & 0o777).toBe(0o600);
  });

  test('leaves nothing aside, and forgets what it is told to', () => {
    store.write('session', bytes('1'));
    store.remove('session');
    store.remove('session');
    expect(store.read('session')).toBeNull();
    expect(readdirSync(path)).toEqual(['ledger']);
  });

  test('keeps the old value when the new one cannot be written', () => {
    mkdirSync(join(path, 'ledger.new'));
    expect(() => store.write('ledger', bytes('three'))).toThrow('EISDIR');
    rmSync(join(path, 'ledger.new'), { recursive: true });
    expect(new TextDecoder().decode(store.read('ledger') ?? bytes(''))).toBe('two');
  });

  test('keeps the old value when the disk has room for a part of the new one', () => {
    const host = fileURLToPath(new URL('full-disk-host.mjs', import.meta.url));
    const disk = join(directory, 'disk');
    mkdirSync(disk);
    const script = 'mount -t tmpfs -o size=64k tmpfs "$1" && exec "$2" "$3" "$1/state"';
    const flags = process.getuid?.() === 0 ? '-m' : '-Urm';
    const told = execFileSync('unshare', [flags, 'sh', '-c', script, 'sh', disk, process.execPath, host]);
    expect(JSON.parse(String(told))).toEqual({ code: 'ENOSPC', bytes: 1000 });
  });

  test('that cannot be made says so', () => {
    writeFileSync(join(directory, 'file'), '');
    expect(() => openStateDirectory(join(directory, 'file', 'state'))).toThrow('stateDir: ');
  });
});

describe('a watched file', () => {
  const path = join(directory, 'policy.yaml');

  /** Each change in its turn; the last is one that must come, so that a change too many would be seen before it. */
  async function changesOf(save: () => void, changes: number): Promise<string[]> {
    writeFileSync(path, 'first');
    const seen: string[] = [];
    let done = (): void => {};
    const all = new Promise<void>((resolve) => {
      done = resolve;
    });
    const watched = watchFile(path, (content) => {
      seen.push(content);
      if (seen.length === changes) done();
    });
    save();
    await all;
    watched.close();
    return seen;
  }

  test('tells of a save in place', async () => {
    expect(await changesOf(() => writeFileSync(path, 'second'), 1)).toEqual(['second']);
  });

  test('tells of a save by writing aside and renaming, as editors do', async () => {
    const save = (): void => {
      writeFileSync(`${path}~`, 'second');
      renameSync(`${path}~`, path);
    };
    expect(await changesOf(save, 1)).toEqual(['second']);
  });

  test('tells of several quick writes as one change, with what stands at the end', async () => {
    const save = (): void => {
      for (const content of ['a', 'ab', 'abc']) writeFileSync(path, content);
    };
    expect(await changesOf(save, 1)).toEqual(['abc']);
  });

  test('is quiet about its neighbours, about the same content, and about a file that is away for a while', async () => {
    const save = (): void => {
      writeFileSync(join(directory, 'other.yaml'), 'x');
      rmSync(path);
      writeFileSync(path, 'first');
      setTimeout(() => writeFileSync(path, 'last'), 200);
    };
    expect(await changesOf(save, 1)).toEqual(['last']);
  });

  test('that cannot be read for a while is no change, and no end of the watch', async () => {
    const save = (): void => {
      rmSync(path);
      mkdirSync(path);
      setTimeout(() => {
        rmSync(path, { recursive: true });
        writeFileSync(path, 'last');
      }, 200);
    };
    expect(await changesOf(save, 1)).toEqual(['last']);
  });

  test('that is a link tells of an edit of what it leads to', async () => {
    const target = join(directory, 'elsewhere');
    mkdirSync(target);
    rmSync(path, { force: true });
    symlinkSync(join(target, 'policy.yaml'), path);
    expect(await changesOf(() => writeFileSync(path, 'second'), 1)).toEqual(['second']);
    rmSync(path);
  });

  test('tells of a save by which a directory on its way becomes another, as Kubernetes does', async () => {
    const volume = join(directory, 'volume');
    for (const each of ['one', 'two']) {
      mkdirSync(join(volume, each), { recursive: true });
      writeFileSync(join(volume, each, 'policy.yaml'), each);
    }
    symlinkSync('one', join(volume, '..data'));
    symlinkSync('..data/policy.yaml', join(volume, 'policy.yaml'));
    const save = (): void => {
      symlinkSync('two', join(volume, '..data_tmp'));
      renameSync(join(volume, '..data_tmp'), join(volume, '..data'));
    };
    const change = new Promise<string>((resolve) => {
      const watched = watchFile(join(volume, 'policy.yaml'), (content) => {
        watched.close();
        resolve(content);
      });
    });
    save();
    expect(await change).toBe('two');
  });

  test('is left alone once the watch is closed, also a change already on its way', async () => {
    writeFileSync(path, 'first');
    const seen: string[] = [];
    const closed = watchFile(path, (content) => void seen.push(content));
    const open = changesOf(() => {
      writeFileSync(path, 'second');
      closed.close();
    }, 1);
    expect(await open).toEqual(['second']);
    expect(seen).toEqual([]);
  });

  test('that is not there has no content', () => {
    expect(contentOf(join(directory, 'none'))).toBeNull();
  });
});
