import { type IpAddress, ipBytes, ipFromBytes } from '../base/address.ts';
import { OperatingError } from '../base/operating-error.ts';
import type { TcpFlow } from '../base/tcp-flow.ts';
import type { Flow } from '../handoff/flow.ts';
import type { FlowTable } from '../ports/flow-table.ts';
import { close, receive, send } from './libc.ts';
import { openNetlink } from './netlink.ts';

/** Numbers of <linux/sock_diag.h>, <linux/inet_diag.h>, <linux/netlink.h>. */
const NETLINK_SOCK_DIAG = 4;
const SOCK_DIAG_BY_FAMILY = 20;
const SOCK_DESTROY = 21;
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const NLM_F_DUMP = 0x300;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const ENOENT = 2;
const IPPROTO_TCP = 6;
const AF_INET = 2;
const AF_INET6 = 10;

/** ESTABLISHED 1, SYN_SENT 2, FIN_WAIT 4 and 5, CLOSE_WAIT 8, LAST_ACK 9, CLOSING 11, NEW_SYN_RECV 12: every state that holds a flow. */
const flowStates = [1, 2, 3, 4, 5, 8, 9, 11, 12].reduce((mask, state) => mask | (1 << state), 0);

/** As above, without SYN_SENT, SYN_RECV and NEW_SYN_RECV. */
const establishedStates: readonly number[] = [1, 4, 5, 8, 9, 11];

const headerBytes = 16;
/** Offset and length of inet_diag_sockid in inet_diag_msg and, 4 bytes later, in inet_diag_req_v2. */
const idOffset = 4;
const idBytes = 48;
const mappedPrefix: readonly number[] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
const receiveBytes = 256 * 1024;

/** A flow of this host, and the kernel's name for its socket. */
interface DiagnosedFlow extends Flow {
  readonly family: number;
  readonly id: Uint8Array;
}

/** The TCP flows of one service address on this host, by sock_diag(7). Destroying needs CAP_NET_ADMIN. */
export function openFlowTable(service: IpAddress): FlowTable<DiagnosedFlow> {
  return {
    list: () => withNetlink((fd) => familiesOf(service).flatMap((family) => dump(fd, family, service))),
    find: (flows) => withNetlink((fd) => flows.filter((flow) => has(fd, service, flow))),
    destroy: (flows) => withNetlink((fd) => flows.filter((flow) => destroy(fd, flow)).length),
  };
}

/** Of the sockets that may hold flows of an address: a server that listens on "::" holds its IPv4 flows in IPv6 sockets. */
function familiesOf(service: IpAddress): readonly number[] {
  return service.family === 4 ? [AF_INET, AF_INET6] : [AF_INET6];
}

function withNetlink<T>(use: (fd: number) => T): T {
  const fd = openNetlink(NETLINK_SOCK_DIAG, receiveBytes);
  try {
    return use(fd);
  } finally {
    close(fd);
  }
}

/** Those of other addresses are passed over as they come: a host may have many, and each costs only what is read of it. */
function dump(fd: number, family: number, service: IpAddress): DiagnosedFlow[] {
  send(fd, request(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, family, new Uint8Array(idBytes)));
  const flows: DiagnosedFlow[] = [];
  const buffer = new Uint8Array(receiveBytes);
  const local = localAddressOf(service, family);
  for (;;) {
    const length = receive(fd, buffer, 0) ?? 0;
    for (const message of messages(buffer.subarray(0, length))) {
      if (message.type === NLMSG_DONE) return flows;
      if (message.type === NLMSG_ERROR)
        throw new OperatingError('sock-diag', `the kernel lists no sockets: error ${errorOf(message.body)}`);
      if (local.every((byte, i) => message.body[idOffset + 4 + i] === byte)) flows.push(flowOf(message.body, service));
    }
  }
}

/** As the kernel tells it: in IPv6 sockets, IPv4 addresses are mapped (RFC 4291, section 2.5.5.2). */
function localAddressOf(service: IpAddress, family: number): readonly number[] {
  const bytes = [...ipBytes(service)];
  return family === AF_INET6 && service.family === 4 ? [...mappedPrefix, ...bytes] : bytes;
}

/** An exact look-up, of IPv6 sockets with mapped addresses too: the kernel hashes them as what they map (inet_diag_find_one_icsk). */
function has(fd: number, service: IpAddress, { client, clientPort, servicePort }: TcpFlow): boolean {
  const id = new Uint8Array(idBytes);
  const view = new DataView(id.buffer);
  view.setUint16(0, servicePort);
  view.setUint16(2, clientPort);
  // Whatever interface; INET_DIAG_NOCOOKIE.
  id.set(ipBytes(service), 4);
  id.set(ipBytes(client), 20);
  id.fill(0xff, 40);
  send(fd, request(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, service.family === 4 ? AF_INET : AF_INET6, id));
  const buffer = new Uint8Array(4096);
  const length = receive(fd, buffer, 0) ?? 0;
  const [answer] = messages(buffer.subarray(0, length));
  if (answer?.type !== SOCK_DIAG_BY_FAMILY) return false;
  const state = answer.body[1] ?? 0;
  // Without such a flow the kernel names the listener.
  return establishedStates.includes(state);
}

/** False when the socket was gone already. */
function destroy(fd: number, flow: DiagnosedFlow): boolean {
  send(fd, request(SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, flow.family, flow.id));
  const buffer = new Uint8Array(1024);
  const length = receive(fd, buffer, 0) ?? 0;
  const [answer] = messages(buffer.subarray(0, length));
  const error = answer ? errorOf(answer.body) : 0;
  if (error !== 0 && error !== ENOENT) {
    throw new OperatingError('sock-diag', `the kernel destroys no sockets: error ${error}`, {
      remedy: 'the agent needs CAP_NET_ADMIN',
    });
  }
  return error === 0;
}

/** struct nlmsghdr and struct inet_diag_req_v2. */
function request(type: number, flags: number, family: number, id: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(headerBytes + 8 + idBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint16(4, type, true);
  view.setUint16(6, flags, true);
  bytes[headerBytes] = family;
  bytes[headerBytes + 1] = IPPROTO_TCP;
  view.setUint32(headerBytes + 4, flowStates, true);
  bytes.set(id, headerBytes + 8);
  return bytes;
}

function* messages(bytes: Uint8Array): Generator<{ type: number; body: Uint8Array }> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + headerBytes <= bytes.length; ) {
    const length = view.getUint32(at, true);
    if (length < headerBytes || at + length > bytes.length) return;
    yield { type: view.getUint16(at + 4, true), body: bytes.subarray(at + headerBytes, at + length) };
    at += (length + 3) & ~3;
  }
}

/** The positive errno of a struct nlmsgerr; 0 acknowledges. */
function errorOf(body: Uint8Array): number {
  return -new DataView(body.buffer, body.byteOffset, body.length).getInt32(0, true);
}

/** struct inet_diag_msg of a socket whose local address is the service's. */
function flowOf(body: Uint8Array, service: IpAddress): DiagnosedFlow {
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const family = body[0] ?? 0;
  const client = idOffset + 20;
  const isMapped = family === AF_INET6 && service.family === 4;
  return {
    protocol: 'tcp',
    service,
    servicePort: view.getUint16(idOffset),
    client:
      service.family === 4
        ? { family: 4, value: BigInt(view.getUint32(isMapped ? client + mappedPrefix.length : client)) }
        : ipFromBytes(body.subarray(client, client + 16)),
    clientPort: view.getUint16(idOffset + 2),
    family,
    id: body.slice(idOffset, idOffset + idBytes),
  };
}
