import type { MacAddress } from '../base/mac.ts';

/** Whole Ethernet frames of one EtherType, sent and received on one device. */
export interface LinkSocket {
  /** The device's own address. */
  readonly mac: MacAddress;
  /** What the device cannot send now is lost, as frames are. */
  send(frame: Uint8Array): void;
  close(): Promise<void>;
}
