import type { Logger } from 'pino';
import { messageOf } from '../base/operating-error.ts';
import { formatSlots } from '../space/index.ts';
import type { DriverEvent } from './driver.ts';

/** One log line for one event; levels as an operator would page on them. */
export function logEvent(log: Logger, event: DriverEvent): void {
  switch (event.kind) {
    case 'verdict':
      log[event.verdict === 'fenced' ? 'warn' : 'info']({ verdict: event.verdict }, event.cause);
      break;
    case 'peer':
      log[event.state === 'silent' || event.state === 'revoked' ? 'warn' : 'info'](`${event.name} is ${event.state}`);
      break;
    case 'ledger':
      log.info({ epoch: event.epoch, by: event.by, changed: event.changed }, event.cause);
      break;
    case 'move':
      log.debug({ move: event.id, slots: formatSlots(event.slots), from: event.from, to: event.to }, event.phase);
      break;
    case 'table':
      log.debug({ slots: formatSlots(event.slots), ms: event.end - event.begin }, 'kernel programmed');
      break;
    case 'reset':
      log.info({ connections: event.connections, slots: formatSlots(event.slots) }, 'connections reset');
      break;
    case 'flows':
      log.warn(`${event.following} UDP flows follow their slots: ${event.reason}`);
      break;
    case 'proposal':
      if (event.outcome === 'refused') log.warn(`${event.title} refused: ${event.reason}`);
      else log.info(`${event.title} ${event.outcome}`);
      break;
    case 'repaired':
      log.warn('somebody else removed or changed the kernel table; it is back');
      break;
    case 'failure':
      log.error({ err: event.error }, `${event.doing} failed: ${messageOf(event.error)}`);
      break;
  }
}
