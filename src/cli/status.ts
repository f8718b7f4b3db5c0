import { type AgentStatus, formatStatus } from '../agent/status.ts';
import { askAgentOnce } from '../platform/agent-client.ts';

/** Exit code 1 unless the replica serves. */
export async function showStatus({ socket, json }: { socket: string; json?: boolean }): Promise<void> {
  const status = await askAgentOnce<AgentStatus>(socket, 'GET', '/v1/status');
  process.stdout.write(json ? `${JSON.stringify(status, null, 2)}\n` : formatStatus(status));
  if (status.verdict !== 'serving') process.exitCode = 1;
}
