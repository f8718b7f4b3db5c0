// Three replicas of which one dies.
import { startLab } from '../lab.mjs';
import { crash } from '../segment.mjs';
import { webServer } from '../web-server.mjs';
import { clientSize, outage } from './outage.mjs';

/** @param {'member' | 'coordinator'} who */
export async function manycastCrash(who) {
  const server = webServer();
  let lab = null;
  try {
    lab = await startLab({ replicas: 3, ...clientSize, ports: '80/tcp', serve: server.command() });
    const { plan } = lab;
    const { coordinator } = await lab.status('r1');
    const victim = plan.replicas.find(({ name }) => (name === coordinator) === (who === 'coordinator'));
    return await outage({
      clients: plan.clients,
      service: plan.service.address,
      crashHost: () => crash(plan.switchNamespace, victim.name, victim.namespace),
    });
  } finally {
    await lab?.end();
    server.remove();
  }
}
