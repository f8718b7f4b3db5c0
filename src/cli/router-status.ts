import { formatRouterStatus, type RouterStatus } from '../edge/status.ts';
import { askAgentOnce } from '../platform/agent-client.ts';

export async function showRouter({ socket, json }: { socket: string; json?: boolean }): Promise<void> {
  const status = await askAgentOnce<RouterStatus>(socket, 'GET', '/v1/router', '', 'router');
  process.stdout.write(json ? `${JSON.stringify(status, null, 2)}\n` : formatRouterStatus(status));
}
