import { createReplayGuard } from '../control/replay.ts';
import { createAssembly } from '../control/transfer.ts';
import { decodeMessage } from '../wire/control-message.ts';
import type { Envelope } from '../wire/envelope.ts';
import { decodeTags, type TagsSaid, tagsBytesMax } from '../wire/tagged-flows.ts';

/** What is heard of an opened datagram. */
export type Heard = Pick<Envelope, 'sender' | 'session' | 'counter' | 'body'>;

/** What one replica says of its flows, in one session of it. */
export type OnTags = (sender: string, session: number, said: TagsSaid) => void;

/** Hears what the replicas of one service say to a router, by datagrams that were authenticated; all else on the channel is for others. */
export function createTagHearing(peers: readonly string[], onTags: OnTags): (heard: Heard) => void {
  const replay = createReplayGuard();
  const assembly = createAssembly();
  return ({ sender, session, counter, body }) => {
    if (!peers.includes(sender) || replay.refusal(sender, session, counter) !== null) return;
    const message = decodeMessage(body);
    if (!message.ok || message.value.kind !== 'part') return;
    if (message.value.content !== 'tags' || message.value.length > tagsBytesMax) return;
    const whole = assembly.add(sender, session, message.value);
    const said = whole.ok && whole.value ? decodeTags(whole.value) : null;
    if (said?.ok) onTags(sender, session, said.value);
  };
}
