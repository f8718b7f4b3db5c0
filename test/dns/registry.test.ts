import { type ChildProcess, execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { authorityUnderTest } from '../identity/authority-under-test.ts';
import { manycast, startManycast } from '../lab/lab-under-test.ts';
import { endAll, startKnot } from './servers-under-test.ts';

const directory = mkdtempSync(join(tmpdir(), 'manycast-test-'));
const children: ChildProcess[] = [];
const waiting = { timeout: 10_000, interval: 20 };

afterEach(() => endAll(children));
afterAll(() => rmSync(directory, { recursive: true }));

const head = `# Groups of the site.
origin: groups.example.org
reverse: [77.239.in-addr.arpa]
nameservers: [{ name: ns1.groups.example.org, address: 127.0.0.1 }]
contact: hostmaster@example.org
`;

let count = 0;
function newZone(text = head): string {
  const path = join(directory, `zone${count++}.yaml`);
  writeFileSync(path, text);
  return path;
}

/** A directory of keys with a revoked member, made once. */
const keys = join(directory, 'authority');
let revokedSerial = '';
beforeAll(async () => {
  vi.stubEnv('MANYCAST_KEYS_PASSPHRASE', 'correct horse battery');
  await manycast('keys', 'init', keys, '--cluster', 'site1');
  await manycast('keys', 'issue', keys, 'web1', 'web2');
  const revoked = await manycast('keys', 'revoke', keys, 'web2');
  revokedSerial = revoked.stdout.slice(0, 32);
  vi.unstubAllEnvs();
});

const owner = 'Example Ltd <ops@example.org>, "Zürich"; 100%';
async function filledZone(): Promise<string> {
  const path = newZone();
  const files = ['--ca', join(keys, 'ca.crt'), '--revoked', join(keys, 'ca.crl')];
  expect(await manycast('registry', 'add', path, 'web', '239.77.0.10', '--owner', owner, ...files)).toMatchObject({
    ...{ code: 0, stderr: '' },
  });
  await manycast('registry', 'add', path, 'open', '239.77.0.11', '--owner', 'Nobody', '--public');
  return path;
}

/** Starts the embedded server and resolves with its port when it answers. */
async function serve(
  path: string,
  ...options: string[]
): Promise<{ port: number; child: ChildProcess; told: () => string }> {
  const child = startManycast('registry', 'serve', path, '--address', '127.0.0.1', '--port', '0', ...options);
  children.push(child);
  let text = '';
  child.stdout?.on('data', (chunk) => (text += chunk));
  child.stderr?.on('data', (chunk) => (text += chunk));
  await vi.waitFor(() => expect(text).toMatch(/answering on 127\.0\.0\.1 port \d+/), waiting);
  return { port: Number(/port (\d+)/.exec(text)?.[1]), child, told: () => text };
}

async function dig(port: number, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('dig', ['@127.0.0.1', '-p', `${port}`, '+tries=2', '+time=2', ...args]);
  return stdout;
}

describe('manycast registry', () => {
  test('adds, changes, lists and removes groups; comments and mode of the file stay, the serial grows', async () => {
    const path = await filledZone();
    chmodSync(path, 0o644);
    const lines = async (): Promise<string[]> => (await manycast('registry', 'list', path)).stdout.trim().split('\n');
    expect(await lines()).toEqual([
      `web.groups.example.org  239.77.0.10  private  1 revoked  ${owner}`,
      'open.groups.example.org  239.77.0.11  public  0 revoked  Nobody',
    ]);
    expect(readFileSync(path, 'utf8')).toContain(revokedSerial);
    await manycast('registry', 'add', path, 'open', '239.77.0.12', '--public');
    await manycast('registry', 'remove', path, 'web');
    expect(await lines()).toEqual(['open.groups.example.org  239.77.0.12  public  0 revoked  Nobody']);
    expect(readFileSync(path, 'utf8')).toMatch(/^# Groups of the site\.\n(.*\n)*serial: 5\n/);
    expect(statSync(path).mode & 0o777).toBe(0o644);
  });

  test('tells a mistake in one line, and leaves the file as it is', async () => {
    const path = await filledZone();
    const before = readFileSync(path, 'utf8');
    const complaint = async (...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await manycast('registry', ...args);
      expect([code, stdout]).toEqual([1, '']);
      return stderr;
    };
    const stray = join(directory, 'stray.crt');
    writeFileSync(stray, authorityUnderTest('site1').certificate);
    const [ca, crl] = ['ca.crt', 'ca.crl'].map((file) => join(keys, file));
    for (const [args, line] of [
      [['add', path, 'db', '239.77.0.13'], '--owner: missing, who answers for the group?'],
      [
        ['add', path, 'db', '239.77.0.13', '--owner', 'x'],
        `${path} is left as it is: groups.db.authority: missing, a private group needs one`,
      ],
      [
        ['add', path, 'db', '239.77.0.10', '--owner', 'x', '--public'],
        `${path} is left as it is: groups.db.address: 239.77.0.10 is that of "web"`,
      ],
      [
        ['add', path, 'db', '239.78.0.1', '--owner', 'x', '--public'],
        `${path} is left as it is: groups.db.address: no zone of \`reverse\` has 239.78.0.1`,
      ],
      [
        ['add', path, 'web', '239.77.0.10', '--ca', join(keys, 'web1.crt')],
        `${join(keys, 'web1.crt')}: it is not the certificate of an authority`,
      ],
      [['add', path, 'web', '239.77.0.10', '--revoked', crl ?? ''], '--revoked: whose list it is only --ca can tell'],
      [
        ['add', path, 'web', '239.77.0.10', '--ca', stray, '--revoked', crl ?? ''],
        `${crl}: no list in it is signed by the authority`,
      ],
      [['remove', path, 'db'], `${path} has no group "db"`],
      [
        ['export', path, '--zone', 'example.com'],
        `${path} has no zone "example.com", allowed are groups.example.org, 77.239.in-addr.arpa`,
      ],
      [['serve', path, '--port', '65536'], '--port: "65536" is not allowed, allowed are 0 to 65535'],
      [['serve', ca ?? ''], `${ca}: `],
    ] as const) {
      expect((await complaint(...args)).startsWith(`manycast: ${line}`), line).toBe(true);
    }
    expect(await complaint('add', path, 'web', '192.0.2.1')).toContain('a multicast address');
    expect(readFileSync(path, 'utf8')).toBe(before);
  });

  test('takes a zone that is saved, and goes on with the last good one', async () => {
    const path = await filledZone();
    const { port, told, child } = await serve(path);
    expect(await dig(port, 'open.groups.example.org', 'A', '+short')).toBe('239.77.0.11\n');
    await manycast('registry', 'add', path, 'open', '239.77.0.12', '--public');
    await vi.waitFor(() => expect(told()).toContain('read again: serial 4'), waiting);
    expect(await dig(port, 'open.groups.example.org', 'A', '+short')).toBe('239.77.0.12\n');
    writeFileSync(path, 'origin: [');
    await vi.waitFor(() => expect(told()).toContain('; the last good one stays in force'), waiting);
    expect(await dig(port, '-x', '239.77.0.12', '+short', '+tcp')).toBe('open.groups.example.org.\n');
    child.kill('SIGTERM');
    await once(child, 'close');
    expect([child.exitCode, told()]).toEqual([0, expect.stringContaining('ended: 3 answered, 0 malformed')]);
  });

  test.runIf(process.getuid?.() === 0)('gives up root when it is told to', async () => {
    chmodSync(directory, 0o755);
    const path = await filledZone();
    const { port, child } = await serve(path, '--user', 'nobody');
    const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
    const nobody = execFileSync('id', ['-u', 'nobody'], { encoding: 'utf8' }).trim();
    expect(status).toMatch(new RegExp(`^Uid:\\t${nobody}\\t${nobody}\\t${nobody}\\t${nobody}$`, 'm'));
    expect(status).toMatch(/^CapEff:\t0+$/m);
    expect(await dig(port, 'open.groups.example.org', 'A', '+short')).toBe('239.77.0.11\n');
    chmodSync(path, 0o600);
    const { code, stderr } = await manycast(
      'registry',
      'serve',
      path,
      '--address',
      '127.0.0.1',
      '--port',
      '0',
      '--user',
      'nobody',
    );
    expect([code, stderr]).toEqual([1, expect.stringContaining('EACCES')]);
  });
});

describe('an exported zone', () => {
  const origins = ['groups.example.org', '77.239.in-addr.arpa'];

  async function exported(path: string): Promise<Map<string, string>> {
    const files = new Map<string, string>();
    for (const origin of origins) {
      const { stdout, code } = await manycast('registry', 'export', path, '--zone', origin);
      expect(code).toBe(0);
      files.set(origin, join(directory, `${origin}.zone`));
      writeFileSync(join(directory, `${origin}.zone`), stdout);
    }
    return files;
  }

  test('is good for named-checkzone and kzonecheck', async () => {
    for (const [origin, file] of await exported(await filledZone())) {
      const checked = execFileSync('named-checkzone', ['-i', 'local', '-k', 'fail', origin, file], {
        encoding: 'utf8',
      });
      expect(checked).toMatch(/loaded serial 3\nOK\n$/);
      execFileSync('kzonecheck', ['-o', origin, file]);
    }
  });

  test('is answered by Knot as the embedded server answers', async () => {
    const path = await filledZone();
    const files = await exported(path);
    const ours = (await serve(path)).port;
    const theirs = await startKnot(files, { directory, children });
    for (const question of [
      ...['TXT', 'CERT', 'A', 'PTR', 'AAAA', 'MX'].flatMap((type) => [
        ['web.groups.example.org', type],
        ['10.0.77.239.in-addr.arpa', type],
        ['OPEN.groups.Example.org', type],
      ]),
      ['groups.example.org', 'SOA'],
      ['groups.example.org', 'NS'],
      ['77.239.in-addr.arpa', 'SOA'],
      ['0.77.239.in-addr.arpa', 'A'],
      ['none.groups.example.org', 'A'],
      ['x.web.groups.example.org', 'TXT'],
      ['groups.example.org', 'AXFR'],
      ['example.com', 'A'],
      ['web.groups.example.org', 'TXT', '-c', 'CH'],
      ['web.groups.example.org', 'TXT', '+noedns'],
      ['web.groups.example.org', 'CERT', '+noedns', '+ignore'],
      ['web.groups.example.org', 'CERT', '+tcp'],
      ['web.groups.example.org', 'TXT', '+edns=1', '+noednsnegotiation'],
    ]) {
      const [our, their] = await Promise.all([ours, theirs].map(async (port) => essence(await dig(port, ...question))));
      expect(our, question.join(' ')).toEqual(their);
    }
  });

  /** What two servers must say alike: code, flags, question, and the records of the answer and of a negative one; not the additional section. */
  function essence(text: string): unknown {
    const sections = text.split(/\n;; (?=[A-Z]+ SECTION)/);
    const records = (name: string): string[] => {
      const lines =
        sections
          .find((each) => each.startsWith(`${name} SECTION`))
          ?.split('\n')
          .slice(1) ?? [];
      return (
        lines
          .filter((line) => line !== '' && !line.startsWith(';;'))
          .map((line) => line.replace(/\s+/g, ' '))
          // Knot compresses the names in data, into the case of the question.
          .map((line) => line.replace(/ (PTR|NS|SOA) .*/, (data) => data.toLowerCase()))
          .sort()
      );
    };
    const isNegative = records('ANSWER').length === 0;
    return {
      status: /status: (\w+)/.exec(text)?.[1] ?? /Transfer failed/.exec(text)?.[0],
      flags: /flags: ([^;]*);/.exec(text)?.[1],
      question: records('QUESTION'),
      answer: records('ANSWER'),
      authority: isNegative ? records('AUTHORITY') : [],
    };
  }
});
