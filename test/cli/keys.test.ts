import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { authorityUnderTest, lifetime } from '../identity/authority-under-test.ts';
import { command, manycast } from '../lab/lab-under-test.ts';

const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
afterAll(() => rmSync(directory, { recursive: true }));

const passphrase = 'correct horse battery';
beforeEach(() => void vi.stubEnv('MANYCAST_KEYS_PASSPHRASE', passphrase));
afterEach(() => void vi.unstubAllEnvs());

function openssl(...args: string[]): string {
  return execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

const ofAuthority = ['ca.crl', 'ca.crt', 'ca.key'];

let count = 0;
/** A directory with an authority of site1 in it. */
async function authority(): Promise<string> {
  const path = join(directory, `keys${count++}`);
  expect(await manycast('keys', 'init', path, '--cluster', 'site1')).toMatchObject({ code: 0, stderr: '' });
  return path;
}

describe('manycast keys', () => {
  test('makes an authority and members that openssl verifies', async () => {
    const keys = await authority();
    const issued = await manycast('keys', 'issue', keys, 'web1', 'web2', '--days', '30');
    expect(issued).toMatchObject({ code: 0, stderr: '' });
    expect(issued.stdout.split('\n')).toHaveLength(3);
    const ca = join(keys, 'ca.crt');
    for (const member of ['web1', 'web2'].map((name) => join(keys, `${name}.crt`))) {
      for (const purpose of ['sslserver', 'sslclient']) {
        const verified = openssl('verify', '-x509_strict', '-purpose', purpose, '-CAfile', ca, member);
        expect(verified).toBe(`${member}: OK\n`);
      }
    }
    expect(openssl('x509', '-in', join(keys, 'web1.crt'), '-noout', '-subject')).toMatch(/^subject=\s*CN ?= ?web1\n$/);
    const days = (file: string): number => {
      const [from = 0, to = 0] = openssl('x509', '-in', join(keys, file), '-noout', '-dates')
        .trim()
        .split('\n')
        .map((line) => Date.parse(line.replace(/^.*=/, '')));
      return Math.floor((to - from) / 86_400_000);
    };
    expect([days('web1.crt'), days('ca.crt')]).toEqual([30, 3650]);
  });

  test('keeps the files for their owner, and the key of the authority encrypted', async () => {
    const keys = await authority();
    await manycast('keys', 'issue', keys, 'web1');
    expect(readdirSync(keys).sort()).toEqual([...ofAuthority, 'issued', 'web1.crt', 'web1.key']);
    const modes = readdirSync(keys).map((file) => statSync(join(keys, file)).mode & 0o777);
    expect(new Set(modes)).toEqual(new Set([0o600]));
    expect(statSync(keys).mode & 0o777).toBe(0o700);
    const pem = readFileSync(join(keys, 'ca.key'), 'utf8');
    expect(pem).toMatch(/^-----BEGIN ENCRYPTED PRIVATE KEY-----\n/);
    expect(() => createPrivateKey({ key: pem, passphrase: 'wrong' })).toThrow();
    const described = openssl('asn1parse', '-in', join(keys, 'ca.key'));
    for (const what of ['PBES2', 'PBKDF2', 'hmacWithSHA256', 'aes-256-cbc', ':0927C0'])
      expect(described).toContain(what);
    const checked = openssl('pkey', '-in', join(keys, 'ca.key'), '-passin', `pass:${passphrase}`, '-check', '-noout');
    expect(checked).toBe('Key is valid\n');
  });

  test('writes members where it is told to', async () => {
    const keys = await authority();
    const out = join(keys, 'out/web');
    await manycast('keys', 'issue', keys, 'web1', '--out', out);
    expect([readdirSync(out).sort(), existsSync(join(keys, 'web1.crt'))]).toEqual([['web1.crt', 'web1.key'], false]);
  });

  test('shows whose a certificate is, and how long it is good', async () => {
    const keys = await authority();
    await manycast('keys', 'issue', keys, 'web1');
    const shown = async (file: string): Promise<string[]> =>
      (await manycast('keys', 'show', join(keys, file))).stdout.trim().split('\n');
    const [whose, good, serial, fingerprint] = await shown('web1.crt');
    expect(whose).toBe('whose    replica web1 of cluster site1');
    expect(good).toMatch(/^good {5}\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC to \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/);
    expect(serial).toMatch(/^serial {3}[0-9a-f]{32}$/);
    expect(fingerprint).toMatch(/^SHA-256 {2}([0-9a-f]{2}:){31}[0-9a-f]{2}$/);
    expect((await shown('ca.crt'))[0]).toBe('whose    authority of cluster site1');
    const old = authorityUnderTest('site1').member('web9', { lifetime: lifetime(-2, -1) });
    writeFileSync(join(keys, 'old.crt'), old.certificate);
    expect((await shown('old.crt'))[1]).toMatch(/, expired$/);
  });

  test('never overwrites a file, and asks for nothing when it would', async () => {
    const keys = await authority();
    await manycast('keys', 'issue', keys, 'web1');
    const before = readdirSync(keys).map((file) => readFileSync(join(keys, file), 'utf8'));
    vi.stubEnv('MANYCAST_KEYS_PASSPHRASE', undefined);
    const refusal = (file: string): object => ({
      ...{ code: 1, stdout: '' },
      stderr: `manycast: ${join(keys, file)} exists already and is left as it is\n`,
    });
    expect(await manycast('keys', 'init', keys, '--cluster', 'site1')).toEqual(refusal('ca.crt'));
    expect(await manycast('keys', 'issue', keys, 'web2', 'web1')).toEqual(refusal('web1.crt'));
    expect(readdirSync(keys).map((file) => readFileSync(join(keys, file), 'utf8'))).toEqual(before);
  });
});

/** What openssl says of a member, by the authority and the list in the directory. */
function verdict(keys: string, member: string): string {
  const args = ['-x509_strict', '-crl_check', '-CRLfile', join(keys, 'ca.crl'), '-CAfile', join(keys, 'ca.crt')];
  try {
    return openssl('verify', ...args, join(keys, member))
      .trim()
      .replace(/^.*: /, '');
  } catch (error) {
    return /error \d+ .*: (.*)/.exec(String((error as { stderr: string }).stderr))?.[1] ?? String(error);
  }
}

async function states(keys: string): Promise<string[]> {
  const { stdout } = await manycast('keys', 'list', keys, '--json');
  const lines = stdout.trim().split('\n').filter(Boolean);
  return lines
    .map((line) => JSON.parse(line))
    .map(({ replica, state }) => `${replica} ${state.replace(/\d.*/, '')}`.trim());
}

describe('manycast keys revoke', () => {
  test('writes a list that openssl takes, of all certificates of a replica or of one serial', async () => {
    const keys = await authority();
    await manycast('keys', 'issue', keys, 'web1', 'web2', 'web3');
    await manycast('keys', 'issue', keys, 'web1', '--out', join(keys, 'again'));
    const text = (): string =>
      openssl('crl', '-in', join(keys, 'ca.crl'), '-CAfile', join(keys, 'ca.crt'), '-noout', '-text');
    expect(text()).toContain('No Revoked Certificates');
    expect(['web1.crt', 'again/web1.crt'].map((file) => verdict(keys, file))).toEqual(['OK', 'OK']);
    const serial = openssl('x509', '-in', join(keys, 'web3.crt'), '-noout', '-serial').trim().replace('serial=', '');
    const { code, stdout, stderr } = await manycast('keys', 'revoke', keys, 'web1', serial);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout.trim().split('\n')).toHaveLength(4);
    expect(['web1.crt', 'again/web1.crt', 'web2.crt', 'web3.crt'].map((file) => verdict(keys, file))).toEqual([
      'certificate revoked',
      'certificate revoked',
      'OK',
      'certificate revoked',
    ]);
    expect(text()).toContain(serial);
    expect(await states(keys)).toEqual(['web1 revoked', 'web2 good', 'web3 revoked', 'web1 revoked']);
    expect((await manycast('keys', 'list', keys)).stdout.split('\n')[1]).toMatch(
      /^[0-9a-f]{32} {2}web2 {30}\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC to \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC {2}good$/,
    );
    expect(statSync(join(keys, 'ca.crl')).mode & 0o777).toBe(0o600);
  });

  test('refuses whom nobody knows, who is revoked already, and a record that is damaged or being changed', async () => {
    const keys = await authority();
    await manycast('keys', 'issue', keys, 'web1', 'web2');
    const refusal = async (...args: string[]): Promise<string> => (await manycast('keys', ...args)).stderr;
    expect(await refusal('revoke', keys, 'web1', 'web9')).toBe(
      'manycast: no certificate was issued to "web9", nor with that serial\n',
    );
    expect(await states(keys)).toEqual(['web1 good', 'web2 good']);
    await manycast('keys', 'revoke', keys, 'web1');
    expect(await refusal('revoke', keys, 'web1')).toBe('manycast: "web1" is revoked already\n');
    const record = join(keys, 'issued');
    writeFileSync(`${record}.new`, '');
    expect(await refusal('issue', keys, 'web3')).toBe(
      `manycast: ${record}.new exists: the record is being changed\n  if no other "manycast keys" runs, one was cut short: rm ${record}.new\n`,
    );
    expect(existsSync(join(keys, 'web3.crt'))).toBe(false);
    rmSync(`${record}.new`);
    writeFileSync(record, `${readFileSync(record, 'utf8')}rubbish\n`);
    expect(await refusal('list', keys)).toBe(`manycast: ${record}:3: it is no line of an authority's record\n`);
  });
});

describe('manycast keys rotate', () => {
  test('members of both keys are believed and can be revoked until it is finished', async () => {
    const keys = await authority();
    await manycast('keys', 'issue', keys, 'web1', 'web2');
    expect(await manycast('keys', 'rotate', keys)).toMatchObject({ code: 0, stderr: '' });
    expect(readdirSync(keys).filter((file) => file.startsWith('ca.'))).toEqual([
      ...['ca.crl', 'ca.crt', 'ca.key', 'ca.old.crt', 'ca.old.key'],
    ]);
    expect((await manycast('keys', 'show', join(keys, 'ca.crt'))).stdout.match(/whose/g)).toHaveLength(2);
    await manycast('keys', 'issue', keys, 'web1', '--out', join(keys, 'new'));
    expect(['web1.crt', 'web2.crt', 'new/web1.crt'].map((file) => verdict(keys, file))).toEqual(['OK', 'OK', 'OK']);
    expect(await states(keys)).toEqual(['web1 good, by the old key', 'web2 good, by the old key', 'web1 good']);
    expect((await manycast('keys', 'rotate', keys)).stderr).toBe(
      'manycast: the authority is being changed already\n  end that first: manycast keys rotate DIRECTORY --finish\n',
    );
    expect((await manycast('keys', 'rotate', keys, '--finish')).stderr).toBe(
      'manycast: still without a certificate by the new key: web2\n  issue them new ones, or revoke those that are gone\n',
    );
    await manycast('keys', 'revoke', keys, 'web2');
    expect(['web1.crt', 'web2.crt', 'new/web1.crt'].map((file) => verdict(keys, file))).toEqual([
      ...['OK', 'certificate revoked', 'OK'],
    ]);
    expect(await manycast('keys', 'rotate', keys, '--finish')).toMatchObject({ code: 0, stderr: '' });
    expect(readdirSync(keys).filter((file) => file.startsWith('ca.'))).toEqual(ofAuthority);
    expect(verdict(keys, 'new/web1.crt')).toBe('OK');
    expect(verdict(keys, 'web1.crt')).not.toBe('OK');
    expect(await states(keys)).toEqual(['web1 by a key that is forgotten', 'web2 revoked', 'web1 good']);
  });

  test('needs the passphrase, and leaves everything as it was without it', async () => {
    const keys = await authority();
    const before = readFileSync(join(keys, 'ca.crt'), 'utf8');
    vi.stubEnv('MANYCAST_KEYS_PASSPHRASE', 'wrong passphrase');
    expect((await manycast('keys', 'rotate', keys)).stderr).toBe(
      `manycast: ${join(keys, 'ca.key')}: wrong passphrase\n`,
    );
    expect([readdirSync(keys).sort(), readFileSync(join(keys, 'ca.crt'), 'utf8')]).toEqual([ofAuthority, before]);
  });
});

describe('a mistake is told in one line:', () => {
  async function complaint(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await manycast('keys', ...args);
    expect([code, stdout]).toEqual([1, '']);
    return stderr;
  }

  test('a wrong passphrase, and none', async () => {
    const keys = await authority();
    vi.stubEnv('MANYCAST_KEYS_PASSPHRASE', 'wrong passphrase');
    expect(await complaint('issue', keys, 'web1')).toBe(`manycast: ${join(keys, 'ca.key')}: wrong passphrase\n`);
    vi.stubEnv('MANYCAST_KEYS_PASSPHRASE', undefined);
    expect(await complaint('issue', keys, 'web1')).toBe(
      'manycast: there is no terminal to ask for the passphrase\n  give it in the environment: MANYCAST_KEYS_PASSPHRASE\n',
    );
    expect(readdirSync(keys).sort()).toEqual(ofAuthority);
    vi.stubEnv('MANYCAST_KEYS_PASSPHRASE', 'short');
    const none = join(directory, 'none');
    expect(await complaint('init', none, '--cluster', 'site1')).toBe(
      'manycast: the passphrase has 5 characters, at least 8 are needed\n',
    );
    expect(readdirSync(none)).toEqual([]);
  });

  test('bad names and numbers', async () => {
    const keys = await authority();
    const rule = 'lower-case letters, digits and "-", at most 32';
    for (const [args, line] of [
      [['init', join(directory, 'bad'), '--cluster', 'Site 1'], `cluster "Site 1" is not allowed, allowed are ${rule}`],
      [['issue', keys, 'web_1'], `replica "web_1" is not allowed, allowed are ${rule}`],
      [['issue', keys, '../web1'], `replica "../web1" is not allowed, allowed are ${rule}`],
      [['issue', keys, 'ca'], 'a replica cannot be named "ca": ca.crt is the file of the authority'],
      [['issue', keys, 'web1', 'web1'], '"web1" is named twice'],
      [['issue', keys, 'web1', '--days', '0'], '--days: "0" is not allowed, allowed are 1 to 3650'],
      [['issue', keys, 'web1', '--days', '1e3'], '--days: "1e3" is not allowed, allowed are 1 to 3650'],
    ] as const) {
      expect(await complaint(...args)).toBe(`manycast: ${line}\n`);
    }
    expect(readdirSync(keys).sort()).toEqual(ofAuthority);
  });

  test('what is not a directory, and one without an authority', async () => {
    const file = join(directory, 'file');
    writeFileSync(file, '');
    const empty = join(directory, 'empty');
    mkdirSync(empty);
    expect(await complaint('init', file, '--cluster', 'site1')).toBe(`manycast: ${file} is not a directory\n`);
    expect(await complaint('issue', file, 'web1')).toBe(`manycast: ${file} is not a directory\n`);
    expect(await complaint('issue', empty, 'web1')).toBe(
      `manycast: ENOENT: no such file or directory, open '${join(empty, 'ca.crt')}'\n  make one: manycast keys init DIRECTORY --cluster NAME\n`,
    );
    expect(await complaint('show', join(empty, 'x'))).toBe(
      `manycast: ENOENT: no such file or directory, open '${join(empty, 'x')}'\n`,
    );
    expect(await complaint('show', file)).toBe(`manycast: ${file} holds no certificate\n`);
  });

  test('an authority that has expired, that is none, or whose key is that of another or open to others', async () => {
    const keys = await authority();
    const ca = join(keys, 'ca.crt');
    const key = join(keys, 'ca.key');
    chmodSync(key, 0o640);
    expect(await complaint('issue', keys, 'web1')).toBe(`manycast: ${key} can be read by others\n  chmod 600 ${key}\n`);
    chmodSync(key, 0o600);
    writeFileSync(ca, authorityUnderTest('site1').certificate);
    expect(await complaint('issue', keys, 'web1')).toBe(`manycast: ${key} is not the key of ca.crt beside it\n`);
    writeFileSync(ca, authorityUnderTest('site1').member('web1').certificate);
    expect(await complaint('issue', keys, 'web1')).toBe(`manycast: ${ca}: it is not the certificate of an authority\n`);
    writeFileSync(ca, authorityUnderTest('site1', lifetime(-2, -1)).certificate);
    expect(await complaint('issue', keys, 'web1')).toMatch(
      /^manycast: \S+ca\.crt expired on .* GMT\n {2}make a new authority: manycast keys init\n$/,
    );
  });
});

describe('on a terminal', () => {
  /** `script` of util-linux gives it one; its output is what the terminal shows. */
  function onTerminal(...args: string[]): { child: ChildProcess; shown: () => string; code: Promise<number | null> } {
    const line = [process.execPath, command, 'keys', ...args].map((each) => `'${each}'`).join(' ');
    const env = { ...process.env };
    delete env.MANYCAST_KEYS_PASSPHRASE;
    const child = spawn('script', ['-qefc', line, '/dev/null'], { stdio: ['pipe', 'pipe', 'ignore'], env });
    let text = '';
    child.stdout.on('data', (chunk) => (text += chunk));
    return { child, shown: () => text, code: new Promise((resolve) => child.once('close', resolve)) };
  }
  const waiting = { timeout: 10_000, interval: 10 };

  test('the passphrase is asked for, twice when it is new, and not shown', async () => {
    const keys = join(directory, 'asked');
    const init = onTerminal('init', keys, '--cluster', 'site1');
    await vi.waitFor(() => expect(init.shown()).toContain('passphrase for the new key: '), waiting);
    init.child.stdin?.write('open sesamx\x7fe\r');
    await vi.waitFor(() => expect(init.shown()).toContain('once more: '), waiting);
    init.child.stdin?.write('open sesame\r');
    expect([await init.code, init.shown()]).toEqual([0, expect.stringContaining('ca.key written')]);
    expect(init.shown()).not.toContain('sesam');
    vi.stubEnv('MANYCAST_KEYS_PASSPHRASE', 'open sesame');
    expect(await manycast('keys', 'issue', keys, 'web1')).toMatchObject({ code: 0 });
  });

  test('two that differ are refused, and control-C ends it', async () => {
    const keys = join(directory, 'refused');
    const init = onTerminal('init', keys, '--cluster', 'site1');
    await vi.waitFor(() => expect(init.shown()).toContain('passphrase for the new key: '), waiting);
    init.child.stdin?.write('open sesame\r');
    await vi.waitFor(() => expect(init.shown()).toContain('once more: '), waiting);
    init.child.stdin?.write('open sesam\r');
    expect([await init.code, init.shown()]).toEqual([1, expect.stringContaining('the two passphrases differ')]);
    const again = onTerminal('init', keys, '--cluster', 'site1');
    await vi.waitFor(() => expect(again.shown()).toContain('passphrase for the new key: '), waiting);
    again.child.stdin?.write('\x03');
    expect([await again.code, again.shown()]).toEqual([1, expect.stringContaining('no passphrase was given')]);
    expect(readdirSync(keys)).toEqual([]);
  });
});
