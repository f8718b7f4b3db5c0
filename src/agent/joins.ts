import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import { messageOf } from '../base/operating-error.ts';
import type { Advertised } from '../control/routing.ts';
import type { ServiceEntry } from '../dataplane/forwarding-table.ts';
import { signedJoin } from '../identity/join.ts';
import type { MemberFiles } from '../platform/certificates.ts';
import { openIgmpSocket } from '../platform/igmp-socket.ts';
import { certificateBytes, joinSigner } from '../platform/join-signatures.ts';
import { ownAddress } from '../platform/link-addresses.ts';
import type { Clock } from '../ports/clock.ts';
import { type DueReport, Joining } from '../router/joining.ts';
import { coverSlots } from '../space/index.ts';
import { decodeIgmp } from '../wire/igmp.ts';
import { randomKeyBytes } from '../wire/igmp-extension.ts';
import { decodeIgmpPacket, encodeIgmpPacket } from '../wire/igmp-packet.ts';
import { type AgentConfig, addressOf } from './config.ts';

/** Tells the routers of a service what they are to send here, by joins to its group that this replica signs. */
export interface Joins {
  take(advertised: Advertised): void;
  /** Takes nothing any more; resolves when that was said as often as it has to be. */
  leave(): Promise<void>;
  /** Says nothing more: the routers go on for as long as they remember. */
  close(): Promise<void>;
}

export const noJoins: Joins = { take() {}, leave: async () => {}, close: async () => {} };

/** Where reports of version 3 go (RFC 3376, section 4.2.14). */
const allRouters = '224.0.0.22';

/** Throws an OperatingError when the device cannot be heard. */
export function openJoins(
  config: AgentConfig,
  service: ServiceEntry,
  files: MemberFiles,
  clock: Clock,
  log: Logger,
): Joins {
  const group = addressOf(config.service.group);
  const { device, partition } = service;
  const joining = new Joining({ group, random: () => randomBytes(4).readUInt32BE() / 2 ** 32 });
  const sign = joinSigner(files.key);
  const certificate = certificateBytes(files.certificate);
  const destination = addressOf(allRouters);
  let cancel = (): void => {};
  let sending: Promise<void> = Promise.resolve();
  let isOpen = true;

  const socket = openIgmpSocket(
    device,
    {},
    {
      onPacket(packet) {
        const outer = decodeIgmpPacket(packet);
        const inner = outer.ok ? decodeIgmp(outer.value.message) : outer;
        if (!inner.ok || inner.value.kind !== 'query') return;
        joining.queried(inner.value, clock.now());
        sleep();
      },
      onFailure: (error) => log.error(`joins on ${device}: ${messageOf(error)}`),
    },
  );

  function sleep(): void {
    cancel();
    if (isOpen && joining.wakeAtMs < Infinity) cancel = clock.wakeAt(joining.wakeAtMs, wake);
  }

  /** One after the other: a join that was signed later must not come first. */
  function wake(): void {
    const due = joining.wake(clock.now());
    if (due) sending = sending.then(() => send(due)).catch((error) => log.error(`join: ${messageOf(error)}`));
    sleep();
  }

  async function send({ type, filters, epoch }: DueReport): Promise<void> {
    const source = ownAddress(device);
    const credentials = {
      ...{ requester: source, timeMs: Date.now(), randomKey: Uint8Array.from(randomBytes(randomKeyBytes)) },
      ...{ epoch, certificate },
    };
    const message = await signedJoin({ type, group, filters }, credentials, sign);
    if (!message.ok)
      log.error(`join: ${message.reason}: the share of this replica is in too many pieces for one packet`);
    else if (isOpen) socket.send(encodeIgmpPacket({ source, destination, message: message.value }));
  }

  return {
    take({ epoch, slots }) {
      const permit = coverSlots(partition, slots);
      joining.take({ permit, prohibit: [] }, epoch, clock.now());
      wake();
    },
    async leave() {
      joining.leave(clock.now());
      wake();
      while (!joining.isOver) await new Promise<void>((resolve) => clock.wakeAt(joining.wakeAtMs + 1, resolve));
      await sending;
    },
    async close() {
      isOpen = false;
      cancel();
      await sending;
      await socket.close();
    },
  };
}
