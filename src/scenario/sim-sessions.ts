import type { SessionRecord } from './records.ts';
import type { SimulatedClients, SimulatedWorkload } from './sim-clients.ts';

type SessionWorkload = Extract<SimulatedWorkload, { kind: 'tcp-echo' | 'ping' }>;

const reconnectMs = 50;
/** How often the longest pause of a connection that is never silent is told. */
const whileMs = 250;

/** Long-lived connections that ask, wait for the answer, pause, and ask again; a lost one is opened anew. */
export function startSessions(clients: SimulatedClients, workload: SessionWorkload, index: number): void {
  const { addresses } = clients;
  const count = workload.kind === 'ping' ? workload.connections : workload.sessions;
  for (let i = 0; i < count; i++) {
    const which = Math.floor((i * addresses.length) / count) % addresses.length;
    const client = addresses[which] ?? '';
    const notes = workload.kind === 'ping' ? pingNotes(clients, client) : echoNotes(clients, `${index}.${i}`, client);
    begin(clients, which, workload, notes);
    clients.closers.push(notes.close);
  }
}

/** What is told of a session. */
interface Notes {
  asked(): void;
  answered(replica: string): void;
  /** `replica`: who has answered on the connection that is lost. */
  lost(what: Exclude<SessionRecord['what'], 'open' | 'failed'>, replica: string | null): void;
  /** All is over. */
  close(): void;
}

/** How each connection began and ended, and how long each answer took. */
function echoNotes({ simulation, add }: SimulatedClients, session: string, client: string): Notes {
  let askedAt: number | null = null;
  let holder: string | null = null;
  const waited = (): void => {
    // Before its first answer it is not open.
    if (askedAt !== null && holder !== null) {
      add({ kind: 'wait', at: simulation.now, session, client, waitMs: simulation.now - askedAt });
    }
    askedAt = null;
  };
  const say = (what: SessionRecord['what'], replica: string | null): void =>
    add({ kind: 'session', what, at: simulation.now, session, client, replica });
  return {
    asked(): void {
      askedAt = simulation.now;
    },
    answered(replica): void {
      if (holder === null) say('open', replica);
      holder = replica;
      waited();
    },
    lost(what, replica): void {
      waited();
      holder = null;
      say(replica === null ? 'failed' : what, replica);
    },
    close: waited,
  };
}

/** The pause between two answers, whatever happened between them; the longest of a while at a time. */
function pingNotes({ simulation, add }: SimulatedClients, client: string): Notes {
  let answeredAt = simulation.now;
  let longest = { gapMs: 0, at: 0 };
  let lost = 0;
  let toldAt = simulation.now;
  const note = (): void => {
    const { now } = simulation;
    if (now - answeredAt > longest.gapMs) longest = { gapMs: now - answeredAt, at: now };
    answeredAt = now;
  };
  const tell = (): void => {
    add({ kind: 'ping', client, lost, ...longest });
    longest = { gapMs: 0, at: 0 };
    lost = 0;
    toldAt = simulation.now;
  };
  return {
    asked: () => {},
    answered(): void {
      note();
      if (simulation.now - toldAt >= whileMs) tell();
    },
    lost(_what, replica): void {
      if (replica !== null) lost++;
    },
    close(): void {
      note();
      tell();
    },
  };
}

/** One connection of a session. */
function begin(clients: SimulatedClients, which: number, workload: SessionWorkload, notes: Notes): void {
  const { simulation } = clients;
  const { intervalMs, stallMs } = workload;
  let replica: string | null = null;
  let over = false;
  /** Grows with whatever it waits for next. */
  let turn = 0;
  const lose = (what: Parameters<Notes['lost']>[0]): void => {
    if (over || clients.ending) return;
    over = true;
    connection.drop();
    notes.lost(what, replica);
    simulation.after(reconnectMs, () => {
      if (!clients.ending) begin(clients, which, workload, notes);
    });
  };
  const beLateAfterAWhile = (): void => {
    const mine = turn;
    simulation.after(stallMs, () => {
      if (turn === mine) lose('stall');
    });
  };
  const ask = (): void => {
    if (over || clients.ending) return;
    notes.asked();
    connection.ask();
    beLateAfterAWhile();
  };
  const connection = simulation.connect(which, {
    opened(): void {
      turn++;
      ask();
    },
    answered(by): void {
      turn++;
      if (replica !== null && by !== replica) {
        lose('wrong');
      } else {
        replica = by;
        notes.answered(by);
        simulation.after(intervalMs, ask);
      }
    },
    ended: (how) => lose(how === 'reset' ? 'reset' : 'closed'),
  });
  beLateAfterAWhile();
}
