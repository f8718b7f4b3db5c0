import { execFileSync } from 'node:child_process';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import { type LabNode, type LabPlan, type LabRouter, prefixLength, routedPrefixLength } from './plan.ts';

/**
 * One bridge as the switch, one namespace for each machine. The switch floods multicast frames to the replicas' ports only, as
 * one that snoops does. With routers, the clients have a bridge of their own beyond them.
 */
export function buildNetwork(plan: LabPlan): void {
  const { routers, replicas, clients } = plan;
  const nodes = [...replicas, ...routers, ...clients];
  const isRouted = routers.length > 0;
  ip(
    ['-batch', '-'],
    [plan.switchNamespace, ...nodes.map(({ namespace }) => namespace)].map((each) => `netns add ${each}`),
  );
  const bridgeOf = (node: LabNode): string =>
    isRouted && clients.some(({ name }) => name === node.name) ? 'br1' : 'br0';
  inNamespace(plan.switchNamespace, [
    'link set lo up',
    ...(isRouted ? ['br0', 'br1'] : ['br0']).flatMap((bridge) => [
      `link add ${bridge} type bridge stp_state 0 mcast_snooping 0`,
      `link set ${bridge} up`,
    ]),
    ...nodes.flatMap((node) => cable(node.name, 'eth0', node.namespace, bridgeOf(node))),
    ...routers.flatMap((router) => cable(portUp(router), 'eth1', router.namespace, 'br1')),
    ...clients.map(({ name }) => `link set ${name} type bridge_slave mcast_flood off`),
  ]);
  if (isRouted) {
    buildSegments(plan);
    return;
  }
  for (const node of replicas) inNamespace(node.namespace, addresses(node, []));
  for (const client of clients) inNamespace(client.namespace, addresses(client, client.addresses));
}

/** Adds the machine that is planned as a stranger to the segment of the replicas. */
export function plugInStranger({ switchNamespace, stranger }: LabPlan): void {
  ip(['netns', 'add', stranger.namespace]);
  inNamespace(switchNamespace, cable(stranger.name, 'eth0', stranger.namespace, 'br0'));
  inNamespace(stranger.namespace, up('eth0', stranger.address));
}

/** A cable from a port of the switch to a device of a machine. */
function cable(port: string, device: string, namespace: string, bridge: string): string[] {
  return [`link add ${port} type veth peer name ${device} netns ${namespace}`, `link set ${port} master ${bridge} up`];
}

/** A router's port among the clients; that among the replicas has its name. */
function portUp({ name }: LabRouter): string {
  return `${name}-up`;
}

/** Two segments and the routers between. A client machine's addresses are behind its first. */
function buildSegments(plan: LabPlan): void {
  const { routers, replicas, clients } = plan;
  for (const { namespace, address } of replicas) inNamespace(namespace, up('eth0', address));
  for (const { namespace, address, addresses: more } of clients) {
    const others = more.map((each) => `address add ${each}/32 dev eth0`);
    inNamespace(namespace, [...up('eth0', address), ...others]);
  }
  const behind = clients.flatMap(({ address, addresses: more }) =>
    more.map((each) => `route add ${each} via ${address}`),
  );
  for (const router of routers) {
    inNamespace(router.namespace, [...up('eth0', router.address), ...up('eth1', router.clientSide), ...behind]);
    setSysctl(router.namespace, 'ip_forward');
  }
  // By ports too: the connections of one client go over both routers.
  for (const { namespace } of [...replicas, ...clients]) setSysctl(namespace, 'fib_multipath_hash_policy');
  routeOver(plan, routers);
}

/** Makes these routers everybody's way out, each connection over one of them. */
export function routeOver({ replicas, clients }: LabPlan, routers: readonly LabRouter[]): void {
  const route = (nextHops: readonly string[]): string =>
    `route replace default ${nextHops.map((each) => `nexthop via ${each}`).join(' ')}`;
  for (const { namespace } of replicas) inNamespace(namespace, [route(routers.map(({ address }) => address))]);
  for (const { namespace } of clients) inNamespace(namespace, [route(routers.map(({ clientSide }) => clientSide))]);
}

function setSysctl(namespace: string, name: string): void {
  ip(['netns', 'exec', namespace, 'sh', '-c', `echo 1 > /proc/sys/net/ipv4/${name}`]);
}

function up(device: string, address: string): string[] {
  return ['link set lo up', `link set ${device} up`, `address add ${address}/${routedPrefixLength} dev ${device}`];
}

/** Pulls both cables of a router, or plugs them in again. */
export function setRouterCables(plan: LabPlan, router: LabRouter, state: 'up' | 'down'): void {
  for (const port of [router.name, portUp(router)]) setCable(plan, port, state);
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
