import type { Part } from '../wire/control-message.ts';
import { decodeLedger } from '../wire/ledger.ts';
import type { Refusal, Said } from './inbox.ts';
import type { Parts } from './parts.ts';

/** Whether a value that comes in parts is of use now: none else takes memory. */
export function isExpected(
  { config, following, membership, staying }: Parts,
  sender: string,
  content: Part['content'],
  now: number,
): boolean {
  if (content === 'ledger') return following.name === sender || membership.newest(sender)?.follow === config.node;
  // For routers alone.
  if (content === 'tags') return false;
  return content === 'kept' || content === 'known' ? staying.isUsed : following.hasAuthority(now);
}

/** Takes in what a peer says besides its heartbeats; why it is refused, or null. */
export function hear(
  parts: Parts,
  { sender, session }: { readonly sender: string; readonly session: number },
  said: Exclude<Said, { kind: 'heartbeat' }>,
  now: number,
): Refusal | null {
  const { config, register, proposals, drained, claimed, policies, questions, staying } = parts;
  const { slotCount } = config.partition;
  switch (said.kind) {
    case 'proposal':
      return proposals.offer(said.value) ? null : 'proposal not understood';
    case 'drained':
      return drained.offer(sender, said.value) ? null : 'malformed';
    case 'claim':
      return claimed.offer(sender, said.value, slotCount) ? null : 'malformed';
    case 'question':
      return questions.maySeek(said.flows.length, now) ? null : 'too many questions';
    case 'answer':
      questions.answered(said.flows);
      return null;
    case 'routed':
      parts.routing.hear(sender, session, said.members, now);
      return null;
    case 'tagged':
      parts.tagging.hear(sender, said, now);
      return null;
    case 'tags':
      return 'part not expected';
    case 'kept':
    case 'known':
      return staying.hear(sender, session, said.kind, said.value) ? null : 'malformed';
    case 'ledger': {
      const ledger = decodeLedger(said.value);
      const usable = ledger.ok && ledger.value.owners.length === slotCount && policies.isOne(ledger.value.policy);
      if (!usable) return 'malformed';
      register.accept(sender, ledger.value);
      return null;
    }
  }
}
