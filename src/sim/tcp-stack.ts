import { flowKey } from '../base/tcp-flow.ts';
import type { Flow } from '../handoff/flow.ts';
import type { FlowTable } from '../ports/flow-table.ts';
import type { Frame, Peer, Reply } from './frame.ts';
import type { Host } from './host.ts';
import type { Life } from './life.ts';
import type { ServiceLan } from './service-lan.ts';
import type { Timeline } from './timeline.ts';

/** A connection as its server's kernel holds it. */
interface ServerFlow extends Flow {
  readonly peer: Peer;
  readonly isn: number;
  state: 'half-open' | 'established';
  /** Requests answered. */
  served: number;
}

/** When a SYN-ACK that nobody acknowledges is sent again (tcp_synack_retries), milliseconds after the first; at the last the flow is forgotten. */
const synAckMs = [1000, 3000, 7000, 15_000, 31_000, 63_000] as const;

const heldResetsMax = 4096;

/** As much of a host's TCP as tells holders of a connection from strangers. */
export class TcpStack {
  readonly #host: Host;
  readonly #lan: ServiceLan;
  readonly #timeline: Timeline;
  readonly #flows = new Map<number, ServerFlow>();
  /** What the agent has been asked about, by number. */
  readonly #heldResets = new Map<number, { readonly frame: Frame; readonly relayed: boolean }>();
  #resets = 0;

  constructor(host: Host, lan: ServiceLan, timeline: Timeline) {
    this.#host = host;
    this.#lan = lan;
    this.#timeline = timeline;
  }

  receive(frame: Frame, relayed: boolean): void {
    const key = keyOf(frame.client, frame.port);
    const flow = this.#flows.get(key) ?? this.#fromCookie(frame, key);
    if (frame.kind === 'syn') {
      this.#answer(frame, relayed, 'syn-ack', flow ?? this.#open(frame, key));
    } else if (flow?.isn === frame.serverIsn) {
      this.#continue(flow, frame, relayed, key);
    } else if (frame.kind !== 'rst' && flow?.state !== 'established') {
      // Unknown, or half open under another number (RFC 9293, section 3.10.7.4): a reset, if this host may speak for the slot.
      const verdict = this.#host.kernel.judgeReset(frame.client.address);
      if (verdict === 'leaves') this.#reset(frame, relayed);
      else if (verdict === 'asked') this.#ask(frame, relayed);
    }
  }

  /** The agent has the reset; without one nobody does. The checkers see it as an answer to the segment when it leaves. */
  #ask(frame: Frame, relayed: boolean): void {
    const reset = Uint8Array.from([0, 0, 0, 0]);
    new DataView(reset.buffer).setUint32(0, ++this.#resets);
    this.#heldResets.set(this.#resets, { frame, relayed });
    this.#heldResets.delete(this.#resets - heldResetsMax);
    const { agent } = this.#host;
    const flow = { client: frame.client.address, clientPort: frame.port, servicePort: 80 };
    agent?.life.turn(() => agent.driver.unknown(flow, reset));
  }

  /** Sends a reset that was held back, if the kernel still lets it leave. */
  letGo(reset: Uint8Array): void {
    const number = new DataView(reset.buffer, reset.byteOffset).getUint32(0);
    const held = this.#heldResets.get(number);
    this.#heldResets.delete(number);
    if (held && this.#host.kernel.letsGo(held.frame.client.address)) this.#reset(held.frame, held.relayed);
  }

  #reset(frame: Frame, relayed: boolean): void {
    this.#answer(frame, relayed, 'rst', { isn: frame.serverIsn, served: frame.request });
  }

  /** The flows as the process of an agent lists and ends them. */
  tableFor(life: Life): FlowTable<Flow> {
    return {
      list: () => [...this.#flows.values()],
      find: (asked) => {
        const held = [...this.#flows.values()].filter(({ state }) => state === 'established').map(flowKey);
        return asked.filter((flow) => held.includes(flowKey(flow)));
      },
      destroy: (flows) => {
        const known = new Set<Flow>(this.#flows.values());
        const doomed = (flows as readonly ServerFlow[]).filter((flow) => known.has(flow));
        life.effect(() => {
          for (const flow of doomed) this.#destroy(flow);
        });
        return doomed.length;
      },
    };
  }

  /** A SYN is answered with a flow that is half open, or with a cookie and no trace of it. */
  #open(frame: Frame, key: number): ServerFlow {
    const cookies = this.#lan.synCookies;
    const flow = this.#newFlow(frame, cookies ? this.#cookie(key) : this.#timeline.random.below(2 ** 31) * 2 + 2);
    if (cookies) return flow;
    this.#flows.set(key, flow);
    this.#resendSynAck(flow, key, 0);
    return flow;
  }

  #newFlow(frame: Frame, isn: number): ServerFlow {
    return {
      protocol: 'tcp',
      client: frame.client.address,
      clientPort: frame.port,
      service: this.#lan.service.address,
      servicePort: 80,
      peer: frame.client,
      isn,
      state: 'half-open',
      served: 0,
    };
  }

  /** The flow of a client that acknowledges a cookie of this host (RFC 4987, section 3.6). */
  #fromCookie(frame: Frame, key: number): ServerFlow | undefined {
    if (frame.kind === 'syn' || frame.kind === 'rst' || frame.serverIsn !== this.#cookie(key)) return undefined;
    if (frame.request > 1 || frame.kind === 'fin') return undefined;
    const flow = this.#newFlow(frame, frame.serverIsn);
    this.#flows.set(key, flow);
    return flow;
  }

  /** Odd, as no number drawn by lot is; another after each boot. */
  #cookie(key: number): number {
    return ((Math.imul(key + this.#host.index * 977 + this.#host.boot * 31_337, 0x9e3779b1) >>> 1) * 2 + 1) >>> 0;
  }

  #resendSynAck(flow: ServerFlow, key: number, attempt: number): void {
    this.#timeline.after((synAckMs[attempt] ?? 0) - (synAckMs[attempt - 1] ?? 0), () => {
      if (this.#host.stack !== this || flow.state !== 'half-open' || this.#flows.get(key) !== flow) return;
      if (attempt === synAckMs.length - 1) {
        this.#flows.delete(key);
        return;
      }
      this.#send(flow.peer, flow.clientPort, 'syn-ack', flow);
      this.#resendSynAck(flow, key, attempt + 1);
    });
  }

  #continue(flow: ServerFlow, frame: Frame, relayed: boolean, key: number): void {
    flow.state = 'established';
    switch (frame.kind) {
      case 'request':
        if (frame.request > flow.served + 1) return;
        flow.served = Math.max(flow.served, frame.request);
        this.#answer(frame, relayed, 'response', { isn: flow.isn, served: frame.request });
        break;
      case 'fin':
        this.#flows.delete(key);
        this.#answer(frame, relayed, 'fin-ack', flow);
        break;
      case 'rst':
        this.#flows.delete(key);
    }
  }

  /** SOCK_DESTROY: an established peer gets a reset, which the guard lets pass; a half-open flow is forgotten. */
  #destroy(flow: ServerFlow): void {
    const key = keyOf(flow.peer, flow.clientPort);
    if (this.#flows.get(key) !== flow) return;
    this.#flows.delete(key);
    if (flow.state === 'established') this.#send(flow.peer, flow.clientPort, 'rst', flow);
  }

  #answer(frame: Frame, relayed: boolean, kind: Reply['kind'], flow: Pick<ServerFlow, 'isn' | 'served'>): void {
    this.#lan.noteAnswer(frame, this.#host, relayed);
    this.#send(frame.client, frame.port, kind, flow);
  }

  #send(client: Peer, port: number, kind: Reply['kind'], { isn, served }: Pick<ServerFlow, 'isn' | 'served'>): void {
    this.#lan.reply({ kind, host: this.#host, boot: this.#host.boot, client, port, serverIsn: isn, request: served });
  }
}

function keyOf(client: Peer, port: number): number {
  return client.index * 65_536 + port;
}
