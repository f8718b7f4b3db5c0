/** Datagrams between the agents of one cluster; may lose, double and reorder them. */
export interface ControlNetwork {
  /** To every agent in the control group; never leaves the segment. */
  multicast(datagram: Uint8Array): void;
  /** To one listed peer by name; a name that is not listed is an error of the caller. */
  unicast(peer: string, datagram: Uint8Array): void;
  close(): Promise<void>;
}
