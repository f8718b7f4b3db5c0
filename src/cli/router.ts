import pino from 'pino';
import { readRouterConfig } from '../edge/config.ts';
import { startRouter } from '../edge/daemon.ts';
import type { RouterStatus } from '../edge/status.ts';
import { askAgentOnce } from '../platform/agent-client.ts';
import { version } from './version.ts';

/** Runs until SIGTERM or SIGINT, then takes the services off this router; SIGHUP ends it and leaves the kernel as it is, for the next start. */
export async function runRouter({
  config: path,
  logLevel: level,
}: {
  config: string;
  logLevel: string;
}): Promise<void> {
  const config = readRouterConfig(path);
  const log = pino({ base: { node: config.node }, level }, pino.destination({ sync: true }));
  process.once('uncaughtException', (error) => {
    log.fatal({ err: error }, 'the router ends; its kernel goes on until the next start');
    process.exit(1);
  });
  const router = await startRouter(config, version, log);
  const signal = await new Promise<NodeJS.Signals>((resolve) => {
    for (const each of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(each, resolve);
  });
  for (const each of ['SIGTERM', 'SIGINT'] as const) process.once(each, () => process.exit(1));
  log.info(`${signal} received`);
  if (signal === 'SIGHUP') await router.detach();
  else await router.stop();
}

export async function showRouter({ socket, json }: { socket: string; json?: boolean }): Promise<void> {
  const status = await askAgentOnce<RouterStatus>(socket, 'GET', '/v1/router');
  const lines = json ? [JSON.stringify(status, null, 2)] : linesOf(status);
  for (const line of lines) process.stdout.write(`${line}\n`);
}

function linesOf({ node, services, refused }: RouterStatus): string[] {
  const lines = [`router ${node}`];
  for (const { name, address, group, access, problem, members, unclaimed, tags, packets } of services) {
    lines.push('', `${name}  ${address}, group ${group}, ${access === 'unknown' ? 'nobody may join yet' : access}`);
    if (problem !== null) lines.push(`  registry: ${problem}`);
    if (members.length === 0) lines.push('  nobody has joined');
    for (const each of members) {
      const { name: member, address: at, link, epoch, slots, filters } = each;
      lines.push(`  ${member}  ${at} on ${link}, epoch ${epoch}: slots ${slots || 'none'} (${filters.length} filters)`);
    }
    if (unclaimed !== '') lines.push(`  dropped, as nobody has joined for them: slots ${unclaimed}`);
    if (tags > 0) lines.push(`  connections that stay with the replica that gave their slots away: ${tags}`);
    if (packets) {
      const { forwarded, tagged, errors, dropped } = packets;
      lines.push(`  packets: ${forwarded} forwarded, ${tagged} tagged, ${errors} ICMP errors, ${dropped} dropped`);
    }
  }
  const counts = Object.entries(refused).map(([reason, count]) => `${reason} ${count}`);
  if (counts.length > 0) lines.push('', `joins refused: ${counts.join(', ')}`);
  return lines;
}
