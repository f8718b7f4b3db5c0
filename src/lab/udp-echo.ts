/** Of the datagram echo server: one that any user may bind. */
export const udpEchoPort = 7007;
