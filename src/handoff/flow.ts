import type { IpAddress } from '../base/address.ts';

/** One TCP connection of the service address, as the host that holds it sees it. */
export interface Flow {
  readonly protocol: 'tcp';
  readonly client: IpAddress;
  readonly clientPort: number;
  readonly service: IpAddress;
  readonly servicePort: number;
}
