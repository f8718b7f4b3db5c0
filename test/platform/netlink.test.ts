import { expect, test } from 'vitest';
import {
  listNetlink,
  NETLINK_SOCK_DIAG,
  NLM_F_DUMP,
  NLM_F_REQUEST,
  netlinkMessage,
  withNetlink,
} from '../../src/platform/netlink.ts';

const sockDiagByFamily = 20;
const enoent = 2;

/** The sockets of one protocol (struct inet_diag_req_v2), IPv4, in any state: how many there are. */
function socketsOf(protocol: number): number {
  const body = new Uint8Array(56);
  body.set([2, protocol]);
  body.fill(0xff, 4, 8);
  const request = netlinkMessage(sockDiagByFamily, NLM_F_REQUEST | NLM_F_DUMP, [body]);
  const read = (_view: DataView, _message: unknown, listed: number[]): void => void listed.push(1);
  const refused = (errno: number): Error => new Error(`error ${errno}`);
  return withNetlink(
    NETLINK_SOCK_DIAG,
    65_536,
    (fd) => listNetlink(fd, { request, receiveBytes: 65_536, read, refused }).length,
  );
}

test('a listing that the kernel breaks off is refused with its error, and is no empty one', () => {
  expect(socketsOf(6)).toBeGreaterThanOrEqual(0);
  expect(() => socketsOf(254)).toThrow(`error ${enoent}`);
});
