#!/usr/bin/env node
import { Command, Option } from 'commander';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import { version } from './version.ts';

/** Exit codes: 0 done, 1 refused or failed, 2 a scenario's expectation failed; 128 and more: ended by a signal. */
const logLevels = ['debug', 'info', 'warn', 'error'];

const program = new Command('manycast')
  .description('Many replicas, one service address, and no load balancer.')
  .version(version)
  .showHelpAfterError()
  .configureHelp({ sortSubcommands: false });

program
  .command('agent')
  .description('run the agent of this replica')
  .requiredOption('-c, --config <file>', 'agent.yaml')
  .addOption(new Option('--log-level <level>', 'what to log').choices(logLevels).default('info'))
  .action(async (options) => (await import('./agent.ts')).runAgent(options));

program
  .command('witness')
  .description('run an agent that votes and serves nothing')
  .requiredOption('-c, --config <file>', 'agent.yaml')
  .addOption(new Option('--log-level <level>', 'what to log').choices(logLevels).default('info'))
  .action(async (options) => (await import('./agent.ts')).runAgent(options, { witness: true }));

const router = program
  .command('router')
  .description('send each packet of a service to the one replica whose verified join covers it')
  .option('-c, --config <file>', 'router.yaml')
  .addOption(new Option('--log-level <level>', 'what to log').choices(logLevels).default('info'))
  .action(async (options) => {
    if (options.config === undefined) router.error("error: required option '-c, --config <file>' not specified");
    await (await import('./router.ts')).runRouter(options);
  });
router
  .command('status')
  .description('ask the running router: who has joined, what is sent where, what was refused')
  .option('--socket <path>', "the router's socket", process.env.MANYCAST_ROUTER_SOCKET ?? '/run/manycast/router.sock')
  .option('--json', 'everything, as JSON')
  .action(async (options) => (await import('./router-status.ts')).showRouter(options));

program
  .command('status')
  .description('ask the running agent: its verdict, the shares, what disagrees')
  .option('--socket <path>', "the agent's socket", process.env.MANYCAST_SOCKET ?? '/run/manycast/agent.sock')
  .option('--json', 'everything, as JSON')
  .action(async (options) => (await import('./status.ts')).showStatus(options));

const socketOption = (): Option =>
  new Option('--socket <path>', "the agent's socket").default(
    process.env.MANYCAST_SOCKET ?? '/run/manycast/agent.sock',
  );
const jsonOption = (): Option => new Option('--json', 'as JSON lines');

for (const [verb, does] of [
  ['drain', 'give a replica no share; its connections go on until they end'],
  ['undrain', 'give it a share again'],
] as const) {
  program
    .command(`${verb} [replica]`)
    .description(`${does} (this replica, unless another is named)`)
    .addOption(socketOption())
    .addOption(jsonOption())
    .action(async (name, options) => (await import('./change.ts')).drain(verb, name, options));
}
program
  .command('move <slots>')
  .description('give slots such as 0-63,128 to a replica, until the policy or the members change')
  .requiredOption('--to <replica>', 'to whom')
  .option('--dry-run', 'only say what would move')
  .addOption(socketOption())
  .addOption(jsonOption())
  .action(async (slots, options) => (await import('./change.ts')).move(slots, options));

const cluster = program.command('cluster').description('begin a cluster; who votes in it');
cluster
  .command('init')
  .description('begin a new cluster with this replica as its only voter: once, on one replica')
  .addOption(socketOption())
  .addOption(jsonOption())
  .action(async (options) => (await import('./change.ts')).init(options));
cluster
  .command('add <name>')
  .description('one more voter: three survive the loss of one, five of two')
  .addOption(socketOption())
  .addOption(jsonOption())
  .action(async (name, options) => (await import('./change.ts')).voters(name, null, options));
cluster
  .command('remove <name>')
  .description('one voter less')
  .addOption(socketOption())
  .addOption(jsonOption())
  .action(async (name, options) => (await import('./change.ts')).voters(null, name, options));
cluster
  .command('replace <old> <new>')
  .description('a voter in the place of another, which may be dead')
  .addOption(socketOption())
  .addOption(jsonOption())
  .action(async (old, name, options) => (await import('./change.ts')).voters(name, old, options));

const policy = program.command('policy').description('check, plan and apply a policy file');
policy
  .command('check <file>')
  .description('say whether a policy file is good')
  .option('--partition <mask>', 'partition mask of the service', '0.0.0.255')
  .action(async (file, options) => (await import('./policy.ts')).checkPolicy(file, options));
for (const [verb, does] of [
  ['plan', 'show what applying a policy file would move'],
  ['apply', 'put a policy file in force and wait until it is'],
] as const) {
  policy
    .command(`${verb} <file>`)
    .description(does)
    .option('--socket <path>', "the agent's socket", process.env.MANYCAST_SOCKET ?? '/run/manycast/agent.sock')
    .option('--json', 'as JSON')
    .action(async (file, options) =>
      (await import('./policy.ts'))[verb === 'plan' ? 'planPolicy' : 'applyPolicy'](file, options),
    );
}

const keyring = program
  .command('keyring')
  .description('keys of the control channel; agents take a saved keyring at once');
keyring
  .command('new')
  .description('make a keyring file with one fresh key')
  .requiredOption('--out <file>', 'where; an existing file is never overwritten')
  .action(async (options) => (await import('./keyring.ts')).makeKeyring(options));
keyring
  .command('list <file>')
  .description('names of the keys, and which one signs')
  .action(async (file) => (await import('./keyring.ts')).listKeys(file));
keyring
  .command('add <file>')
  .description('first step of a change: a fresh key that is accepted and does not sign yet')
  .action(async (file) => (await import('./keyring.ts')).add(file));
keyring
  .command('use <file> <key>')
  .description('second step, once every replica has the key: sign with it')
  .action(async (file, key) => (await import('./keyring.ts')).use(file, key));
keyring
  .command('remove <file> <key>')
  .description('last step, once no replica signs with the key: accept it no more')
  .action(async (file, key) => (await import('./keyring.ts')).remove(file, key));

const keys = program.command('keys').description('certificates with which the replicas of a cluster prove their names');
keys
  .command('init <directory>')
  .description("make a cluster's authority, which signs the certificates of its members; it stays on your own machine")
  .requiredOption('--cluster <name>', 'name of the cluster, as in agent.yaml')
  .action(async (directory, options) => (await import('./keys.ts')).init(directory, options));
keys
  .command('issue <directory> <replica...>')
  .description('make key and certificate of replicas, signed by the authority in the directory')
  .option('--days <n>', 'how long they are good', '365')
  .option('--out <dir>', 'where they are written; by default beside the authority')
  .action(async (directory, replicas, options) => (await import('./keys.ts')).issue(directory, replicas, options));
keys
  .command('list <directory>')
  .description('what the authority in the directory has issued, and what is good')
  .addOption(jsonOption())
  .action(async (directory, options) => (await import('./keys.ts')).list(directory, options));
keys
  .command('revoke <directory> <replica...>')
  .description('believe certificates no more: all of a replica, or the one with a serial')
  .action(async (directory, which) => (await import('./keys.ts')).revoke(directory, which));
keys
  .command('rotate <directory>')
  .description('give the authority a new key; members of the old one are believed until --finish')
  .option('--finish', 'last step, once every replica has a certificate by the new key: forget the old one')
  .action(async (directory, options) => (await import('./keys.ts')).rotate(directory, options));
keys
  .command('show <file>')
  .description('whose certificate it is, and how long it is good')
  .action(async (file) => (await import('./keys.ts')).show(file));

const registry = program
  .command('registry')
  .description('a zone of DNS that tells who owns a group, and with which key');
registry
  .command('serve <zone>')
  .description('answer for the zone of a zone.yaml; a saved file is taken at once')
  .option('--address <ip>', 'where to listen', '0.0.0.0')
  .option('--port <n>', 'UDP and TCP port', '53')
  .option('--user <name>', 'give up root for this user once the port is taken')
  .action(async (zone, options) => (await import('./registry.ts')).serve(zone, options));
registry
  .command('add <zone> <group> <address>')
  .description('put a group into a zone.yaml, or change it')
  .option('--owner <text>', 'who answers for it; by default as before')
  .option('--ca <file>', "certificate of the group's authority: ca.crt of manycast keys")
  .option('--revoked <file>', 'its list of revoked members: ca.crl of manycast keys')
  .option('--public', 'everybody may join; otherwise members of the authority alone')
  .action(async (zone, name, address, options) => (await import('./registry.ts')).add(zone, name, address, options));
registry
  .command('list <zone>')
  .description('the groups in a zone.yaml')
  .addOption(jsonOption())
  .action(async (zone, options) => (await import('./registry.ts')).list(zone, options));
registry
  .command('remove <zone> <group>')
  .description('take a group out of a zone.yaml')
  .action(async (zone, name) => (await import('./registry.ts')).remove(zone, name));
registry
  .command('export <zone>')
  .description('print a zone for BIND, Knot or NSD')
  .option('--zone <origin>', 'which, such as 239.in-addr.arpa; by default that of the names')
  .action(async (zone, options) => (await import('./registry.ts')).exportZone(zone, options));

const lab = program.command('lab').description('a network of replicas and clients on this machine');
lab
  .command('up <name>')
  .description('build it, start an agent in every replica, leave it running')
  .option('--replicas <n>', 'replicas', '3')
  .option('--clients <n>', 'client machines', '2')
  .option('--addresses <k>', 'addresses of each client machine', '8')
  .addOption(
    new Option('--delivery <mode>', 'how packets reach the replicas')
      .choices(['segment', 'router', 'group'])
      .default('segment'),
  )
  .option('--routers <n>', 'with --delivery router: 1, or 2 side by side; with group: 1 between replicas and clients')
  .option('--public', 'with a router: everybody may join the group, and nobody has a key')
  .option('--ports <list>', 'ports of the service; by default 80/tcp,7/tcp, with --delivery group 7007/udp')
  .option('--serve <cmd>', 'command that serves, run beside each agent')
  .option(
    '--certified',
    'the agents have certificates: handoff "transfer" moves connections of applications with the SDK',
  )
  .action(async (name, options) => (await import('./lab.ts')).up(name, options));
lab
  .command('down <name>')
  .description('end everything in it and remove it')
  .action(async (name) => (await import('./lab.ts')).down(name));
lab
  .command('exec <name> <node> <cmd...>')
  .description('run a command on a node: lab exec demo c1 -- curl http://10.77.0.100/')
  .action(async (name, node, argv) => (await import('./lab.ts')).exec(name, node, argv));
lab
  .command('step <name> <step>')
  .description("do one step of a scenario's timeline: lab step demo 'cut: r2'")
  .action(async (name, step) => (await import('./lab.ts')).step(name, step));
lab
  .command('list')
  .description('labs that are up')
  .action(async () => (await import('./lab.ts')).list());

const scenario = program
  .command('scenario')
  .description('a topology, a workload, a timeline and what is expected of them');
scenario
  .command('run <file>')
  .description('run it; exit code 2 when an expectation fails')
  .requiredOption('--on <where>', 'where: lab (real kernels), or sim (virtual time)')
  .option('--delivery <how>', 'how packets reach the replicas, whatever the file says: segment, router, group')
  .option('--seed <n>', 'with --on sim: what decides all chance; 1 by default')
  .option('--repeat <n>', 'run it so many times: medians and worst of each measure')
  .option('--report <dir>', 'write report.json and timeline.svg there')
  .option('--json', 'print the report as JSON')
  .action(async (file, options) => (await import('./scenario.ts')).run(file, options));
scenario
  .command('list')
  .description('scenarios that come with manycast')
  .action(async () => (await import('./scenario.ts')).list());
scenario
  .command('schema')
  .description('print the JSON schema of scenario files')
  .action(async () => (await import('./scenario.ts')).schema());

program
  .command('sim')
  .description(
    'agents, kernels, networks and clients in virtual time, with faults drawn from seeds; exit code 1 when an invariant breaks',
  )
  .option('--seeds <range>', 'seeds to run, such as 1..1000', '1..100')
  .option('--jobs <n>', 'processes; by default one for each core')
  .option('--seed <n>', 'run this one only')
  .option('--trace', 'with --seed: print what happens')
  .action(async (options) => (await import('./sim.ts')).simulate(options));

const docs = program.command('docs').description('schemas and reference pages, generated from the code');
docs.command('write').action(async () => (await import('./docs.ts')).write());
docs
  .command('check')
  .description('fail when a generated file is not what the code says')
  .action(async () => (await import('./docs.ts')).check());

/** As of a program that SIGPIPE ends, which Node ignores. */
const outputClosed = 128 + 13;

// Whoever reads the output may stop before its end, as `head` does.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(outputClosed);
});

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`manycast: ${messageOf(error)}\n`);
  if (error instanceof OperatingError) {
    if (error.remedy) process.stderr.write(`  ${error.remedy}\n`);
  } else {
    process.stderr.write(`${error instanceof Error ? error.stack : ''}\n`);
  }
  process.exitCode = 1;
}
