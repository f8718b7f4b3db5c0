import { type IpAddress, ipBytes, ipFromBytes } from '../base/address.ts';
import { OperatingError } from '../base/operating-error.ts';
import type { TcpFlow } from '../base/tcp-flow.ts';
import type { Flow } from '../handoff/flow.ts';
import type { FlowTable } from '../ports/flow-table.ts';
import { receive, send } from './libc.ts';
import {
  listNetlink,
  NETLINK_SOCK_DIAG,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_REQUEST,
  netlinkAttribute,
  netlinkError,
  netlinkMessage,
  netlinkMessages,
  withNetlink,
} from './netlink.ts';

/** Numbers of <linux/sock_diag.h>, <linux/inet_diag.h>. */
const SOCK_DIAG_BY_FAMILY = 20;
const SOCK_DESTROY = 21;
const ENOENT = 2;
const INET_DIAG_REQ_BYTECODE = 1;
const INET_DIAG_BC_S_COND = 7;
const IPPROTO_TCP = 6;
const AF_INET = 2;
const AF_INET6 = 10;

/** ESTABLISHED 1, SYN_SENT 2, FIN_WAIT 4 and 5, CLOSE_WAIT 8, LAST_ACK 9, CLOSING 11, NEW_SYN_RECV 12: every state that holds a flow. */
const flowStates = [1, 2, 3, 4, 5, 8, 9, 11, 12].reduce((mask, state) => mask | (1 << state), 0);

/** As above, without SYN_SENT, SYN_RECV and NEW_SYN_RECV. */
const establishedStates: readonly number[] = [1, 4, 5, 8, 9, 11];

/** Offset and length of inet_diag_sockid in inet_diag_msg and, 4 bytes later, in inet_diag_req_v2. */
const idOffset = 4;
const idBytes = 48;
/** Of an IPv4 address in an IPv6 socket. */
const mappedPrefixBytes = 12;
const receiveBytes = 256 * 1024;

/** A flow of this host, and the kernel's name for its socket: the inet_diag_sockid at `at` of an answer. */
interface DiagnosedFlow extends Flow {
  readonly family: number;
  readonly answer: DataView;
  readonly at: number;
}

/** The TCP flows of one service address on this host, by sock_diag(7). Destroying needs CAP_NET_ADMIN. */
export function openFlowTable(service: IpAddress): FlowTable<DiagnosedFlow> {
  return {
    list: () => diagnose((fd) => familiesOf(service).flatMap((family) => dump(fd, family, service))),
    find: (flows) => diagnose((fd) => flows.filter((flow) => has(fd, service, flow))),
    destroy: (flows) => diagnose((fd) => flows.filter((flow) => destroy(fd, flow)).length),
  };
}

/** Of the sockets that may hold flows of an address: a server that listens on "::" holds its IPv4 flows in IPv6 sockets. */
function familiesOf(service: IpAddress): readonly number[] {
  return service.family === 4 ? [AF_INET, AF_INET6] : [AF_INET6];
}

function diagnose<T>(use: (fd: number) => T): T {
  return withNetlink(NETLINK_SOCK_DIAG, receiveBytes, use);
}

/** The kernel passes over those of other addresses: a host may have many. */
function dump(fd: number, family: number, service: IpAddress): DiagnosedFlow[] {
  const any = new Uint8Array(idBytes);
  return listNetlink<DiagnosedFlow>(fd, {
    request: request(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, family, any, [onlyAt(service)]),
    receiveBytes,
    read: (view, { at }, flows) => void flows.push(flowOf(view, at, service)),
    refused: (errno) => new OperatingError('sock-diag', `the kernel lists no sockets: error ${errno}`),
  });
}

/**
 * A program for the kernel: one condition, that the socket's own address is this one (struct inet_diag_bc_op and inet_diag_hostcond, any port). It finds IPv4 addresses also where IPv6 sockets have them
 * mapped (RFC 4291, section 2.5.5.2; inet_diag_bc_run).
 */
function onlyAt(service: IpAddress): Uint8Array {
  const address = ipBytes(service);
  const bytes = new Uint8Array(12 + address.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = INET_DIAG_BC_S_COND;
  // To the end when it is true; beyond it, which refuses, when it is not.
  bytes[1] = bytes.length;
  view.setUint16(2, bytes.length + 4, true);
  bytes[4] = service.family === 4 ? AF_INET : AF_INET6;
  bytes[5] = 8 * address.length;
  view.setInt32(8, -1, true);
  bytes.set(address, 12);
  return netlinkAttribute(INET_DIAG_REQ_BYTECODE, bytes);
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
  const answers = answerOn(fd);
  const [answer] = netlinkMessages(answers);
  // Without such a flow the kernel names the listener.
  return answer?.type === SOCK_DIAG_BY_FAMILY && establishedStates.includes(answers.getUint8(answer.at + 1));
}

/** False when the socket was gone already. */
function destroy(fd: number, flow: DiagnosedFlow): boolean {
  const id = new Uint8Array(flow.answer.buffer, flow.at, idBytes);
  send(fd, request(SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, flow.family, id));
  const view = answerOn(fd);
  const [answer] = netlinkMessages(view);
  const error = answer ? netlinkError(view, answer) : 0;
  if (error !== 0 && error !== ENOENT) {
    throw new OperatingError('sock-diag', `the kernel destroys no sockets: error ${error}`, {
      remedy: 'the agent needs CAP_NET_ADMIN',
    });
  }
  return error === 0;
}

/** What the kernel has answered to a request about one socket. */
function answerOn(fd: number): DataView {
  const buffer = new Uint8Array(4096);
  return new DataView(buffer.buffer, 0, receive(fd, buffer, 0) ?? 0);
}

/** With a struct inet_diag_req_v2. */
function request(
  type: number,
  flags: number,
  family: number,
  id: Uint8Array,
  attributes: readonly Uint8Array[] = [],
): Uint8Array {
  const head = new Uint8Array(8);
  head[0] = family;
  head[1] = IPPROTO_TCP;
  new DataView(head.buffer).setUint32(4, flowStates, true);
  return netlinkMessage(type, flags, [head, id, ...attributes]);
}

/** struct inet_diag_msg of a socket whose own address is the service's. Of many flows: nothing of it is copied. */
function flowOf(answer: DataView, message: number, service: IpAddress): DiagnosedFlow {
  const family = answer.getUint8(message);
  const at = message + idOffset;
  const client = at + 20;
  const isMapped = family === AF_INET6 && service.family === 4;
  return {
    protocol: 'tcp',
    service,
    servicePort: answer.getUint16(at),
    client:
      service.family === 4
        ? { family: 4, value: BigInt(answer.getUint32(isMapped ? client + mappedPrefixBytes : client)) }
        : ipFromBytes(new Uint8Array(answer.buffer, client, 16)),
    clientPort: answer.getUint16(at + 2),
    family,
    answer,
    at,
  };
}
