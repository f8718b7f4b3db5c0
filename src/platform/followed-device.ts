import { interfaceIndex } from './packet-socket.ts';

/** What is open on a device. */
export interface FollowedDevice<Socket> {
  /** The one that is open now. Throws an OperatingError while the device is away. */
  current(): Socket;
  close(): Promise<void>;
}

/** A device that was removed and is back has another index, and the socket of the old one hears nothing: `current` then opens one anew. */
export function followDevice<Socket extends { close(): Promise<void> }>(
  device: string,
  open: () => Socket,
): FollowedDevice<Socket> {
  let index = interfaceIndex(device);
  let socket = open();
  return {
    current(): Socket {
      const now = interfaceIndex(device);
      if (now !== index) {
        const old = socket;
        socket = open();
        index = now;
        void old.close();
      }
      return socket;
    },
    close: () => socket.close(),
  };
}
