import { askAgent } from '../platform/agent-client.ts';

/** More voters than this only make the lab slower to agree; two are no better than one. */
const votersMax = 3;

/** Begins a cluster at the first agent, by name and socket, and has the next two vote too. */
export async function formCluster(sockets: ReadonlyMap<string, string>): Promise<void> {
  const [first, ...others] = [...sockets].slice(0, sockets.size < votersMax ? 1 : votersMax);
  if (!first) return;
  await done(first[1], '/v1/cluster/init', '');
  for (const [name] of others) {
    await done(first[1], '/v1/change', JSON.stringify({ kind: 'voters', name, instead: null }));
  }
}

async function done(socket: string, path: string, body: string): Promise<void> {
  for await (const _ of askAgent(socket, 'POST', path, body));
}
