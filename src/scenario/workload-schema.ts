import { z } from 'zod';
import { streamPort } from '../lab/stream.ts';
import { udpEchoPort } from '../lab/udp-echo.ts';

/** A whole number from 1. */
export const count = (max: number): z.ZodNumber => z.number().int().min(1).max(max);

const http = z
  .strictObject({
    kind: z
      .literal('http')
      .describe('GET requests to port 80, begun on time whether earlier ones are answered or not.'),
    ratePerSecond: count(5000).describe(
      'Requests a second, all clients together; every other one on a connection of its own.',
    ),
    timeoutMs: count(60_000).default(5000).describe('A request without an answer after this long has failed.'),
  })
  .describe('HTTP requests from every client address in turn.');

const echo = z
  .strictObject({
    kind: z.literal('tcp-echo').describe('Long-lived TCP connections to port 7.'),
    sessions: count(1000).describe('Connections kept open, spread over the client addresses.'),
    intervalMs: count(60_000).default(50).describe('Pause between an answer and the next line sent.'),
    stallMs: count(60_000)
      .default(1500)
      .describe('A line without an answer after this long is a stall; the client connects anew.'),
  })
  .describe('Sessions that count lines and check each answer.');

const probe = z
  .strictObject({
    kind: z.literal('probe').describe('TCP connections to port 80, closed as soon as they are open.'),
    intervalMs: count(1000)
      .default(10)
      .describe('A new one from each client address after this long, whatever became of those before.'),
    timeoutMs: count(60_000).default(1000).describe('A connection not open after this long is given up.'),
  })
  .describe('Fresh connections from every client address, to see for how long there are none.');

const ping = z
  .strictObject({
    kind: z.literal('ping').describe('Long-lived TCP connections to port 7, one short line to and fro.'),
    connections: count(64).default(1).describe('Connections, spread over the client addresses.'),
    intervalMs: count(1000).default(1).describe('Pause between an answer and the next line sent.'),
    stallMs: count(60_000)
      .default(1500)
      .describe('A line without an answer after this long: the client connects anew.'),
  })
  .describe('Connections that are never silent, to see the longest pause in them.');

const udpEcho = z
  .strictObject({
    kind: z
      .literal('udp-echo')
      .describe(`Numbered datagrams to port ${udpEchoPort}, sent on time whether earlier ones are answered or not.`),
    flows: count(1000).describe('Sockets, spread over the client addresses.'),
    intervalMs: count(60_000).default(20).describe('Pause between two datagrams of a flow.'),
    timeoutMs: count(60_000).default(1000).describe('A datagram without an answer after this long is lost.'),
    lifeMs: count(600_000)
      .optional()
      .describe('A flow ends after this long, and one with another socket begins; without it they last.'),
  })
  .describe('Datagrams that are counted, and each answer checked.');

const stream = z
  .strictObject({
    kind: z.literal('stream').describe(`Long-lived TCP connections to port ${streamPort}, bytes both ways at once.`),
    streams: count(64).describe('Connections kept open, spread over the client addresses.'),
    bytesPerSecond: count(1e9)
      .optional()
      .describe('Of each connection, each way; without it as fast as the connection takes them.'),
    stallMs: count(60_000).default(5000).describe('No bytes for this long is a stall; the client connects anew.'),
  })
  .describe('Streams of which every byte is checked, at both ends.');

const command = z
  .strictObject({
    kind: z.literal('command').describe('Any command on a client machine, begun with the timeline.'),
    run: z
      .string()
      .min(1)
      .max(4000)
      .describe(
        'For `sh -c`; MANYCAST_SERVICE_ADDRESS is the service, MANYCAST_CLIENT_ADDRESS an address of the client.',
      ),
    client: z
      .string()
      .regex(/^c[0-9]{1,2}$/, 'a client machine such as c1')
      .default('c1')
      .describe('On which client machine.'),
    endMs: count(600_000)
      .default(10_000)
      .describe('It must have ended this long after the timeline; else it is killed, with exit code 137.'),
    prepare: z
      .string()
      .min(1)
      .max(4000)
      .optional()
      .describe('For `sh -c`, once, before anything is served, in the directory MANYCAST_SHARED of the network.'),
    serve: z
      .strictObject({
        port: z
          .string()
          .regex(/^[1-9][0-9]{0,4}\/(tcp|udp)$/, 'a port such as 22/tcp')
          .describe('Port of the service, such as `22/tcp`.'),
        run: z
          .string()
          .min(1)
          .max(4000)
          .describe('For `sh -c` in each replica; MANYCAST_DIRECTORY is a directory of its own.'),
        unprivileged: z
          .boolean()
          .default(false)
          .describe('As the user `manycast`, who may nothing, for servers that do not run as root.'),
        checked: z
          .boolean()
          .default(true)
          .describe(
            'The agents check it, as TCP servers are: a replica where it does not answer has no share while others do.',
          ),
      })
      .optional()
      .describe('What serves it; without it an HTTP server on port 80.'),
  })
  .describe('A command whose exit code says whether all was well.');

/** What clients do, by kind. */
export const workloadSchema = z.discriminatedUnion('kind', [http, echo, probe, ping, udpEcho, stream, command]);
export type Workload = z.output<typeof workloadSchema>;
