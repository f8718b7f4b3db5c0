import { ipBytes } from '../../src/base/address.ts';
import type { Instruction } from '../../src/dataplane/socket-filter.ts';
import type { UdpFlow } from '../../src/dataplane/staying.ts';

/** What a socket of UDP shows a program of a datagram, and how much of it is kept. Knows the instructions that filters here use, and no others. */
export function runClassicBpf(program: readonly Instruction[], { client, clientPort, servicePort }: UdpFlow): number {
  const network = new Uint8Array(20);
  network.set(ipBytes(client), 12);
  const transport = new DataView(new ArrayBuffer(8));
  transport.setUint16(0, clientPort);
  transport.setUint16(2, servicePort);
  const header = new DataView(network.buffer);
  const negative = 0xfff0_0000;
  let a = 0;
  for (let at = 0; ; at++) {
    const instruction = program[at];
    if (!instruction) throw new Error(`no instruction ${at} of ${program.length}`);
    const [code, yes, no, k] = instruction;
    if (code === 0x06) return k;
    if (code === 0x20) a = k >= negative ? header.getUint32(k - negative) : transport.getUint32(k);
    else if (code === 0x28) a = transport.getUint16(k);
    else if (code === 0x05) at += k;
    else if (code === 0x15) at += a === k ? yes : no;
    else if (code === 0x35) at += a >= k ? yes : no;
    else if (code === 0x45) at += (a & k) !== 0 ? yes : no;
    else throw new Error(`instruction ${code} is not known`);
  }
}
