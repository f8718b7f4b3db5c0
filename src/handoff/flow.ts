import type { IpAddress } from '../base/address.ts';
import type { TcpFlow } from '../base/tcp-flow.ts';

/** One TCP connection of the service address, as the host that holds it sees it. */
export interface Flow extends TcpFlow {
  readonly protocol: 'tcp';
  readonly service: IpAddress;
}
