import type { Logger } from 'pino';
import { openControlSocket } from '../agent/control-socket.ts';
import { openWatchedChannel } from '../agent/member-channel.ts';
import { defined } from '../base/assert.ts';
import { messageOf } from '../base/operating-error.ts';
import { createEdgePlane } from '../dataplane/edge-plane.ts';
import { runIp } from '../platform/ip-command.ts';
import { readKeyring } from '../platform/keyring.ts';
import { openNftables } from '../platform/libnftables.ts';
import { monotonicClock } from '../platform/monotonic-clock.ts';
import { openStateDirectory } from '../platform/state-directory.ts';
import { openUdpControlNetwork } from '../platform/udp-control-network.ts';
import { openAccess } from './access.ts';
import { type Announcer, startAnnouncer } from './announcer.ts';
import type { RoutedService, RouterConfig } from './config.ts';
import { type Edge, startEdge } from './edge.ts';
import { watchTouches } from './kernel-touches.ts';
import { statusOf } from './status.ts';
import { createTagHearing, type OnTags } from './tag-hearing.ts';

/** A running router. */
export interface Router {
  /** Undoes all that was done to the host: its services are served no more. */
  stop(): Promise<void>;
  /** Ends at once and leaves the kernel as it is: the next start goes on from there. */
  detach(): Promise<void>;
}

/** Throws an OperatingError of one clear line when it cannot start; then nothing is left open. */
export async function startRouter(config: RouterConfig, version: string, log: Logger): Promise<Router> {
  const closers: (() => unknown)[] = [];
  const close = async (): Promise<void> => {
    for (let next = closers.pop(); next; next = closers.pop()) {
      await Promise.resolve(next()).catch((error: unknown) => log.error(`closing: ${messageOf(error)}`));
    }
  };
  try {
    const plane = createEdgePlane({ nft: openNftables(), ip: runIp });
    const announcers = new Map<string, Announcer>();
    const running: { edge: Edge | null } = { edge: null };
    const services = config.services.map((each) => ({ config: each, access: openAccess(config, each, log) }));
    closers.push(
      ...services.map(
        ({ access }) =>
          () =>
            access.close(),
      ),
    );
    for (const each of config.services) {
      const { name } = each.service;
      const onTags: OnTags = (...said) => running.edge?.tell(name, ...said);
      const announcer = await openAnnouncer(config, each, log, closers, onTags);
      if (announcer) announcers.set(name, announcer);
    }
    const touches = watchTouches(log, performance.now());
    closers.push(() => touches.close());
    const edge = startEdge({
      ...{ links: config.links, clients: config.clients, services, plane, touches, log },
      onStanding: (service, members) => announcers.get(service)?.say(members),
      onTagged: (service, ...answer) => announcers.get(service)?.answer(...answer),
    });
    running.edge = edge;
    closers.push(() => edge.stop());
    const status = () => statusOf({ node: config.node, version }, services, edge, plane);
    const socket = await openControlSocket(
      config.socket,
      new Map([['GET /v1/router', async (_body, say) => say(status())]]),
    );
    closers.push(() => socket.close());
    log.info({ version, services: config.services.map(({ service }) => service.name) }, 'router started');
    return {
      async stop(): Promise<void> {
        await close();
        plane.remove();
        log.info('router stopped, the host is as it was');
      },
      async detach(): Promise<void> {
        await close();
        log.info('router ended, its kernel goes on');
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Null for a service whose replicas want to hear nothing. */
async function openAnnouncer(
  { node, stateDir }: RouterConfig,
  { cluster, delivery, service, control, routers, certificates }: RoutedService,
  log: Logger,
  closers: (() => unknown)[],
  onTags: OnTags,
): Promise<Announcer | null> {
  if (!control) return null;
  const { group, port, peers } = control;
  const member = {
    ...{ cluster, node, service, control, routers, delivery },
    ...(certificates && { certificates }),
  };
  // In a public group members are known by their address alone.
  const names = new Map(Object.entries(peers).map(([name, address]) => [address, name]));
  const nameOf = (member: string): string => names.get(member) ?? member;
  const hear = createTagHearing(Object.keys(peers), onTags);
  const network = await openUdpControlNetwork({
    ...{ address: defined(routers[node], 'the checked address of this router'), group, port },
    peers: new Map(Object.entries({ ...peers, ...routers })),
    onDatagram(datagram) {
      const opened = channel?.open(datagram);
      if (opened?.ok && opened.value) hear(opened.value);
    },
    onSendFailure: (reason) => log.debug(`control channel: ${reason}`),
  });
  closers.push(() => network.close());
  const channel = openWatchedChannel(
    member,
    {
      ...{ keyring: readKeyring(control.keyring), network, clock: monotonicClock },
      ...{ view: () => null, onRevoked() {} },
      store: openStateDirectory(`${stateDir}/${service.name}`),
    },
    log,
  );
  closers.push(() => channel.close());
  const announcer = startAnnouncer({
    seal: channel.seal,
    send(datagram) {
      network.multicast(datagram);
      for (const peer of Object.keys(peers)) network.unicast(peer, datagram);
    },
    sendTo: (name, datagram) => network.unicast(name, datagram),
    wakeAfter: (ms, callback) => monotonicClock.wakeAt(monotonicClock.now() + ms, callback),
  });
  closers.push(() => announcer.stop());
  const known = (name: string): boolean => Object.hasOwn(peers, name);
  return {
    ...announcer,
    say: (members) =>
      announcer.say(
        members.map(({ name, epoch }) => ({ name: nameOf(name), epoch })).filter(({ name }) => known(name)),
      ),
  };
}
