// Several descriptors that are waited for, as JSON: who could be read, and what the process did meanwhile.
import { createPrivateKey, generateKeyPairSync, sign } from 'node:crypto';
import { promisify } from 'node:util';
import { eventfd, read, write } from '../../dist/platform/libc.js';
import { readable } from '../../dist/platform/readable.js';

const one = Uint8Array.from([1, 0, 0, 0, 0, 0, 0, 0]);
const fds = Array.from({ length: 6 }, eventfd);
const waiters = fds.map((fd) => readable(fd));
const order = [];
const waits = waiters.map((each, i) => each.wait().then((isReadable) => order.push(`${i} ${isReadable}`)));

// All threads of the pool but one are free: many signatures come before anything can be read.
const key = createPrivateKey(
  generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' }),
);
for (let i = 0; i < 20; i++) await promisify(sign)('sha256', one, key);
const signedBefore = order.length === 0;

write(fds[5], one);
await waits[5];
write(fds[1], one);
await waits[1];
// Who has read waits again, and is told again.
read(fds[5], new Uint8Array(8));
const again = waiters[5].wait();
write(fds[5], one);
order.push(`5 again ${await again}`);
for (const each of waiters) await each.close();
await Promise.all(waits);
order.push(`closed ${await waiters[0].wait()}`);
process.stdout.write(JSON.stringify({ signedBefore, order }));
