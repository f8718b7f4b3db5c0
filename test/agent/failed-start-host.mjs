// Runs inside a network namespace of its own, as "failed-start-host.mjs CASE [CONFIG]": fails to begin, says why, and is to end by itself.
import { rmSync } from 'node:fs';
import { readAgentConfig } from '../../dist/agent/config.js';
import { watchHost } from '../../dist/agent/host.js';
import { openWatchedChannel } from '../../dist/agent/member-channel.js';
import { runDaemon } from '../../dist/cli/daemon.js';
import { readKeyring } from '../../dist/platform/keyring.js';
import { monotonicClock } from '../../dist/platform/monotonic-clock.js';
import { openStateDirectory } from '../../dist/platform/state-directory.js';

const silent = { warn() {}, error() {}, debug() {} };
const setup = { prepare() {}, repair: () => [], undo() {} };

const cases = {
  /** The number of its session cannot be stored. */
  async channel() {
    const config = readAgentConfig(process.argv[3]);
    const store = openStateDirectory(config.stateDir);
    rmSync(config.stateDir, { recursive: true });
    const network = { multicast() {}, unicast() {}, close: async () => {} };
    const keyring = readKeyring(config.control.keyring);
    const parts = { keyring, store, network, clock: monotonicClock, view: () => null, onRevoked() {} };
    openWatchedChannel(config, parts, silent);
  },
  watch: async () => watchHost(setup, silent, { inspect() {}, announce() {} }),
  leaking: () =>
    runDaemon('r1', 'info', 'the agent ends', async () => {
      setInterval(() => {}, 1000);
      throw new Error('no such device');
    }),
};

await cases[process.argv[2]]().catch(({ message }) => process.stdout.write(message));
