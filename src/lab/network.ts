import { execFileSync } from 'node:child_process';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import { type LabNode, type LabPlan, prefixLength } from './plan.ts';

/**
 * One bridge as the switch, one namespace for each machine. The switch floods multicast frames to the replicas' ports only, as
 * one that snoops does.
 */
export function buildNetwork(plan: LabPlan): void {
  const nodes = [...plan.replicas, ...plan.clients];
  ip(
    ['-batch', '-'],
    [plan.switchNamespace, ...nodes.map(({ namespace }) => namespace)].map((each) => `netns add ${each}`),
  );
  inNamespace(plan.switchNamespace, [
    'link set lo up',
    'link add br0 type bridge stp_state 0 mcast_snooping 0',
    'link set br0 up',
    ...nodes.flatMap(({ name, namespace }) => [
      `link add ${name} type veth peer name eth0 netns ${namespace}`,
      `link set ${name} master br0 up`,
    ]),
    ...plan.clients.map(({ name }) => `link set ${name} type bridge_slave mcast_flood off`),
  ]);
  for (const node of plan.replicas) inNamespace(node.namespace, addresses(node, []));
  for (const client of plan.clients) inNamespace(client.namespace, addresses(client, client.addresses));
}

/** Pulls the cable of a node, or plugs it in again. */
export function setCable(plan: LabPlan, node: string, state: 'up' | 'down'): void {
  ip(['-n', plan.switchNamespace, 'link', 'set', node, state]);
}

/** The lab's namespaces that exist, whatever state they were left in. */
export function existingNamespaces(name: string): string[] {
  return ip(['netns', 'list'])
    .split('\n')
    .map((line) => line.split(' ')[0] ?? '')
    .filter((namespace) => namespace.startsWith(`mc-${name}-`));
}

/** Ends whatever still runs in a namespace, and removes it. */
export function removeNamespace(namespace: string): void {
  endNamespaceProcesses(namespace);
  ip(['netns', 'delete', namespace]);
}

/** Kills whatever runs in a namespace. */
export function endNamespaceProcesses(namespace: string): void {
  for (const pid of ip(['netns', 'pids', namespace]).split('\n').filter(Boolean)) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // Ended by itself meanwhile.
    }
  }
}

function addresses(node: LabNode, more: readonly string[]): string[] {
  return [
    'link set lo up',
    'link set eth0 up',
    ...[node.address, ...more].map((address) => `address add ${address}/${prefixLength} dev eth0`),
  ];
}

/** Without IPv6: its announcements would only make noise in captures. */
function inNamespace(namespace: string, commands: readonly string[]): void {
  const quiet =
    'echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6';
  ip(['netns', 'exec', namespace, 'sh', '-c', `${quiet}; exec ip -batch -`], commands);
}

function ip(args: readonly string[], commands: readonly string[] = []): string {
  try {
    return execFileSync('ip', args, {
      encoding: 'utf8',
      ...(commands.length > 0 ? { input: `${commands.join('\n')}\n` } : {}),
      stdio: [commands.length > 0 ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    });
  } catch (cause) {
    const said = String((cause as { stderr?: unknown }).stderr ?? '').trim();
    throw new OperatingError('lab', `ip ${args.join(' ')}: ${said || messageOf(cause)}`, { cause });
  }
}
