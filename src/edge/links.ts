import type { Logger } from 'pino';
import type { IpAddress } from '../base/address.ts';
import { messageOf } from '../base/operating-error.ts';
import { type FollowedDevice, followDevice } from '../platform/followed-device.ts';
import { type IgmpSocket, openIgmpSocket } from '../platform/igmp-socket.ts';
import { ownAddress } from '../platform/link-addresses.ts';
import { encodeQuery, type IgmpQuery } from '../wire/igmp.ts';
import { allHosts, allRouters, encodeIgmpPacket } from '../wire/igmp-packet.ts';

/** The links of a router, where it hears joins and asks for them. One whose device is away, or has no address, is told of once and keeps nobody from the others. */
export interface Links {
  /** To all hosts of a link. */
  ask(link: string, query: IgmpQuery): void;
  /** Opens anew what was away; true when a link has come back since the last time. To be called every few seconds. */
  look(): boolean;
  close(): Promise<void>;
}

/** `onPacket` is given IPv4 packets with their headers. Throws an OperatingError when a device is not there, and leaves nothing open then. */
export function openLinks(
  names: readonly string[],
  onPacket: (packet: Uint8Array, link: string) => void,
  log: Logger,
): Links {
  return new OpenLinks(names, onPacket, log);
}

class OpenLinks implements Links {
  readonly #log: Logger;
  readonly #devices = new Map<string, FollowedDevice<IgmpSocket>>();
  /** Those that cannot be used. */
  readonly #away = new Set<string>();
  readonly #back = new Set<string>();

  constructor(names: readonly string[], onPacket: (packet: Uint8Array, link: string) => void, log: Logger) {
    this.#log = log;
    const follow = (link: string): FollowedDevice<IgmpSocket> => {
      const onFailure = (error: unknown): void => log.error(`joins on ${link}: ${messageOf(error)}`);
      const handlers = { onPacket: (packet: Uint8Array): void => onPacket(packet, link), onFailure };
      return followDevice(link, () => {
        this.#back.add(link);
        return openIgmpSocket(link, { listen: [allRouters] }, handlers);
      });
    };
    try {
      for (const link of names) this.#devices.set(link, follow(link));
    } catch (error) {
      void this.close();
      throw error;
    }
    this.#back.clear();
  }

  ask(link: string, query: IgmpQuery): void {
    this.#use(link, (socket, source) => {
      socket.send(encodeIgmpPacket({ source, destination: allHosts, message: encodeQuery(query) }));
    });
  }

  look(): boolean {
    for (const link of this.#devices.keys()) this.#use(link, () => {});
    const isBack = this.#back.size > 0;
    this.#back.clear();
    return isBack;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#devices.values()].map((device) => device.close()));
  }

  #use(link: string, use: (socket: IgmpSocket, source: IpAddress) => void): void {
    try {
      const socket = this.#devices.get(link)?.current();
      const source = ownAddress(link);
      if (socket) use(socket, source);
      if (this.#away.delete(link)) this.#back.add(link);
    } catch (error) {
      if (!this.#away.has(link)) this.#log.warn(`joins on ${link}: ${messageOf(error)}`);
      this.#away.add(link);
    }
  }
}
