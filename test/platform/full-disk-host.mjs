// `node full-disk-host.mjs DIRECTORY`, on a file system of 64 KiB: writes a value that does not fit over one that does, and tells what came of it as one line of JSON.
import { openStateDirectory } from '../../dist/platform/state-directory.js';

const store = openStateDirectory(process.argv[2]);
store.write('ledger', new Uint8Array(1000));
let code = null;
try {
  store.write('ledger', new Uint8Array(100_000));
} catch (error) {
  code = error.code;
}
process.stdout.write(JSON.stringify({ code, bytes: store.read('ledger').length }));
