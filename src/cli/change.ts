import type { AgentStatus } from '../agent/status.ts';
import { askAgent, askAgentOnce } from '../platform/agent-client.ts';

/** Which agent to ask, and in which form to answer. */
export interface AskOptions {
  readonly socket: string;
  readonly json?: boolean;
}

type Lines = AsyncIterable<Readonly<Record<string, unknown>>>;

/** Each step as the cluster does it; the last line says that it is done. */
export async function showProgress(lines: Lines, title: string, json: boolean): Promise<void> {
  for await (const line of lines) {
    if (json) process.stdout.write(`${JSON.stringify(line)}\n`);
    else if (line.type === 'move' || line.type === 'would move')
      process.stdout.write(`${line.slots} from ${line.from ?? 'nobody'} to ${line.to}: ${line.phase ?? line.type}\n`);
    else if (line.done) process.stdout.write(`${title} ${line.outcome}${line.epoch ? `, epoch ${line.epoch}` : ''}\n`);
  }
}

/** No share for a replica, or one again; its connections go on until they end. */
export async function drain(kind: 'drain' | 'undrain', name: string | undefined, options: AskOptions): Promise<void> {
  const { socket, json } = options;
  const who = name ?? (await askAgentOnce<AgentStatus>(socket, 'GET', '/v1/status')).node;
  await change(socket, { kind, name: who }, `${kind} ${who}`, json);
  if (kind === 'undrain' || json) return;
  const { holders } = await askAgentOnce<AgentStatus>(socket, 'GET', '/v1/status');
  const left = holders.find((holder) => holder.name === who);
  process.stdout.write(
    left
      ? `${who} has no share; connections of ${left.count} slots may go on there\n`
      : `${who} has no share and no connections\n`,
  );
}

export async function move(
  slots: string,
  { to, dryRun, socket, json }: AskOptions & { to: string; dryRun?: boolean },
): Promise<void> {
  await change(socket, { kind: 'move', slots, name: to, dryRun: dryRun ?? false }, `move to ${to}`, json);
}

export async function init({ socket, json }: AskOptions): Promise<void> {
  await showProgress(askAgent(socket, 'POST', '/v1/cluster/init'), 'cluster', json ?? false);
}

/** One more voter, one less, or one in the place of another. */
export async function voters(add: string | null, remove: string | null, { socket, json }: AskOptions): Promise<void> {
  await change(socket, { kind: 'voters', name: add, instead: remove }, 'voters', json);
  if (json) return;
  const status = await askAgentOnce<AgentStatus>(socket, 'GET', '/v1/status');
  process.stdout.write(`${status.voters.map(({ name }) => name).join(', ')} vote\n`);
  if (status.voters.length === 2) process.stdout.write('two voters serve no more when one of them dies: add a third\n');
}

async function change(
  socket: string,
  body: Readonly<Record<string, unknown>>,
  title: string,
  json = false,
): Promise<void> {
  await showProgress(askAgent(socket, 'POST', '/v1/change', JSON.stringify(body)), title, json);
}
