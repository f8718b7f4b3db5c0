import { fileURLToPath } from 'node:url';
import { OperatingError } from '../base/operating-error.ts';
import {
  alreadyUp,
  hasEntered,
  holdNamespace,
  isHeld,
  type LabDelivery,
  type LabPlan,
  labDown,
  labExec,
  labList,
  labNamed,
  labUp,
  mayBuildHere,
  releaseNamespace,
  runInHeldNamespace,
} from '../lab/index.ts';
import { udpEchoPort } from '../lab/udp-echo.ts';
import { readStep, stepLabel, takeStep } from '../scenario/index.ts';
import { wholeNumber } from './whole-number.ts';

interface UpOptions {
  readonly replicas: string;
  readonly clients: string;
  readonly addresses: string;
  readonly delivery: LabDelivery;
  readonly routers?: string;
  readonly public?: boolean;
  readonly ports?: string;
  readonly serve?: string;
  readonly certified?: boolean;
}

/** What a lab serves when nothing else is said. */
const builtIn = {
  stream: { ports: '80/tcp,7/tcp', serve: programOf('http-server-main.js') },
  datagram: { ports: `${udpEchoPort}/udp`, serve: programOf('udp-echo-server-main.js') },
} as const;

export async function up(name: string, options: UpOptions): Promise<void> {
  const hasRouter = options.delivery === 'router' || (options.delivery === 'group' && options.routers !== undefined);
  if (options.public && !hasRouter)
    throw new OperatingError('usage', '--public: is for --delivery router, or for group with --routers');
  if (!mayBuildHere()) {
    if (!(await holdNamespace(name))) throw alreadyUp(name);
    process.exitCode = await runInHeldNamespace(name, process.argv.slice(2));
    if (process.exitCode !== 0) await releaseNamespace(name);
    return;
  }
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());
  const served = builtIn[options.delivery === 'group' ? 'datagram' : 'stream'];
  const ports = options.ports ?? served.ports;
  const { plan, policyFile } = await labUp({
    name,
    replicas: wholeNumber('--replicas', options.replicas),
    clients: wholeNumber('--clients', options.clients),
    addresses: wholeNumber('--addresses', options.addresses),
    delivery: options.delivery,
    ...(options.routers === undefined ? {} : { routers: wholeNumber('--routers', options.routers) }),
    serve: [options.serve ?? `exec ${served.serve}`],
    ports: ports.split(','),
    certified: options.certified ?? false,
    joins: { arePublic: options.public ?? false },
    policy: 'strategy: equal\n',
    onProgress: (line) => process.stderr.write(`${line}\n`),
    signal: interrupted.signal,
  });
  const nodes = (list: typeof plan.replicas): string => list.map((node) => `${node.name} ${node.address}`).join(', ');
  process.stdout.write(`service  ${plan.service.address}, ports ${ports}
replicas ${nodes(plan.replicas)}
clients  ${nodes(plan.clients)}, each with ${options.addresses} more
${plan.routers.length > 0 ? `routers  ${nodes(plan.routers)}\n` : ''}policy   ${policyFile}

try      manycast lab exec ${name} c1 -- ${tryOut(plan)}
         manycast lab exec ${name} r1 -- ${process.argv[1]} status
end      manycast lab down ${name}
`);
}

function programOf(file: string): string {
  return `${process.execPath} ${fileURLToPath(new URL(`../lab/${file}`, import.meta.url))}`;
}

/** A command for a client machine. */
function tryOut({ delivery, service }: LabPlan): string {
  return delivery === 'group' ? programOf('datagram-client-main.js') : `curl -s http://${service.address}/`;
}

export async function down(name: string): Promise<void> {
  if (!mayBuildHere() && isHeld(name)) await runInHeldNamespace(name, process.argv.slice(2));
  const found = mayBuildHere() ? await labDown(name) : await releaseNamespace(name);
  // The command outside says it.
  if (hasEntered()) return;
  process.stdout.write(found ? `${name} is down\n` : `there is no lab "${name}"\n`);
}

export async function exec(name: string, node: string, argv: readonly string[]): Promise<void> {
  process.exitCode = mayBuildHere()
    ? await labExec(name, node, argv)
    : await runInHeldNamespace(name, process.argv.slice(2));
}

export async function step(name: string, text: string): Promise<void> {
  if (!mayBuildHere()) {
    process.exitCode = await runInHeldNamespace(name, process.argv.slice(2));
    return;
  }
  const lab = labNamed(name);
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());
  await takeStep(lab, readStep(text, lab.plan), interrupted.signal, (done) =>
    process.stdout.write(`${stepLabel(done)}\n`),
  );
}

export async function list(): Promise<void> {
  for (const { name, serviceAddress, nodes } of labList()) {
    process.stdout.write(`${name}  ${serviceAddress}  ${nodes.join(' ')}\n`);
  }
}
