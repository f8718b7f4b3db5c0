import type { ClientRecord } from './clients.ts';
import type { RunRecords } from './records.ts';

const listOf = {
  request: 'requests',
  session: 'sessions',
  probe: 'probes',
  ping: 'pings',
  datagrams: 'datagrams',
  bytes: 'bytes',
  wait: 'waits',
  command: 'commands',
} as const;

/** The lists of a run that hold what clients told. */
export type ClientLists = Pick<RunRecords, (typeof listOf)[ClientRecord['kind']]>;

export interface ClientRecords {
  readonly records: ClientLists;
  add(record: ClientRecord): void;
  /** Times that another replica went on with a session, so far. */
  moved(): number;
  /** So far, in a line; empty for nothing. */
  summary(): string;
}

export function clientRecords(): ClientRecords {
  const records = {
    ...{ requests: [], sessions: [], probes: [], pings: [] },
    ...{ datagrams: [], bytes: [], waits: [], commands: [] },
  } as { [List in keyof ClientLists]: ClientLists[List][number][] };
  const { requests, sessions, probes, datagrams, commands } = records;
  return {
    records,
    add: (record) => (records[listOf[record.kind]] as ClientRecord[]).push(record),
    moved: () => sessions.filter(({ what }) => what === 'moved').length,
    summary(): string {
      const good = requests.filter(({ failure }) => failure === null).length;
      const opened = sessions.filter(({ what }) => what === 'open').length;
      const probed = probes.filter((probe) => probe.opened).length;
      const sent = datagrams.reduce((sum, each) => sum + each.sent, 0);
      const lost = datagrams.reduce((sum, each) => sum + each.lost, 0);
      const failed = commands.filter(({ exitCode }) => exitCode !== 0).length;
      return [
        ...(requests.length > 0 ? [`${good} requests answered, ${requests.length - good} failed`] : []),
        ...(opened > 0 ? [`${opened} sessions opened`] : []),
        ...(probes.length > 0 ? [`${probed} probes opened, ${probes.length - probed} not`] : []),
        ...(sent > 0 ? [`${sent} datagrams sent, ${lost} lost`] : []),
        ...(commands.length > 0 ? [`${commands.length} commands ended, ${failed} of them failed`] : []),
      ].join('; ');
    },
  };
}
