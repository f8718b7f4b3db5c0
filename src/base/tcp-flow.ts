import { formatIp, type IpAddress } from './address.ts';

/** A TCP connection of the service address. */
export interface TcpFlow {
  readonly client: IpAddress;
  readonly clientPort: number;
  readonly servicePort: number;
}

/** One text for each, as nftables writes the concatenation of client address, client port and service port. */
export function flowKey({ client, clientPort, servicePort }: TcpFlow): string {
  return `${formatIp(client)} . ${clientPort} . ${servicePort}`;
}
