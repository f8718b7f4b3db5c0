import { OperatingError } from '../base/operating-error.ts';
import {
  attachFilter,
  bind,
  type FilterInstruction,
  getsockopt,
  ioctl,
  linux,
  receive,
  setsockopt,
  socket,
} from './libc.ts';
import { interfaceIndex, linkAddress } from './packet-socket.ts';
import { readable } from './readable.ts';

/** As much of a frame as its headers take. */
const frameBytesMax = 128;
const queueBytes = 16 * 1024 * 1024;
/** ETH_P_ALL: what a port of a bridge receives is the bridge's before sockets of one EtherType are asked. */
const everyEtherType = 0x0003;

export interface FrameCapture {
  /** Frames that the kernel could not queue since the capture began. */
  drops(): number;
  /** What has arrived by then is told first. */
  close(): Promise<void>;
}

/**
 * The beginnings of the frames that arrive on a device (not of those that leave it) and that `filter` returns a length for, with the kernel's time of arrival in Unix
 * milliseconds. Needs CAP_NET_RAW.
 */
export function captureFrames(
  device: string,
  filter: readonly FilterInstruction[],
  onFrame: (at: number, frame: Uint8Array) => void,
): FrameCapture {
  // Of no protocol, so that nothing is queued before the filter is there.
  const fd = socket(linux.AF_PACKET, linux.SOCK_RAW, 0);
  growQueue(fd);
  attachFilter(fd, filter);
  setsockopt(fd, linux.SOL_PACKET, linux.PACKET_IGNORE_OUTGOING, new Uint8Array([1, 0, 0, 0]));
  bind(fd, linkAddress(interfaceIndex(device), everyEtherType));
  const incoming = readable(fd);
  const buffer = new Uint8Array(frameBytesMax);
  const stamp = new Uint8Array(16);
  const stampView = new DataView(stamp.buffer);
  let dropped = 0;
  const reading = read();

  async function read(): Promise<void> {
    while (await incoming.wait()) drain();
  }

  function drain(): void {
    for (let length = next(); length !== null; length = next()) {
      ioctl(fd, linux.SIOCGSTAMP_OLD, stamp);
      const at = Number(stampView.getBigInt64(0, true)) * 1000 + Number(stampView.getBigInt64(8, true)) / 1000;
      onFrame(at, buffer.subarray(0, length));
    }
  }

  function next(): number | null {
    return receive(fd, buffer, linux.MSG_DONTWAIT);
  }

  return {
    drops(): number {
      const statistics = new Uint8Array(8);
      getsockopt(fd, linux.SOL_PACKET, linux.PACKET_STATISTICS, statistics);
      // Reading them resets them.
      dropped += new DataView(statistics.buffer).getUint32(4, true);
      return dropped;
    },
    async close(): Promise<void> {
      drain();
      const ended = incoming.close();
      await reading;
      await ended;
    },
  };
}

/** Beyond the system's limit where that is allowed. */
function growQueue(fd: number): void {
  const size = new Uint8Array(4);
  new DataView(size.buffer).setInt32(0, queueBytes, true);
  try {
    setsockopt(fd, linux.SOL_SOCKET, linux.SO_RCVBUFFORCE, size);
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    setsockopt(fd, linux.SOL_SOCKET, linux.SO_RCVBUF, size);
  }
}
