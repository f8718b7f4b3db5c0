/** How a datagram of the control channel came. */
export type Via = 'multicast' | 'unicast';
