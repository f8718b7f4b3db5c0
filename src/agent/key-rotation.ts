import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import { z } from 'zod';
import { messageOf } from '../base/operating-error.ts';
import { addKeyAs, freshSecret, readKeys, removeKey, useKey } from '../platform/keyring.ts';
import { exchangeKey, openKey, sealKey } from '../platform/sealed-key.ts';
import type { Clock } from '../ports/clock.ts';
import type { StateStore } from '../ports/state-store.ts';
import {
  type Announcement,
  announcedKeysMax,
  decodeKeyringMessage,
  encodeKeyringMessage,
  type Gift,
} from '../wire/keyring-message.ts';

/** How often an agent tells which keys it has, and looks what is to be done. */
export const rotationRoundMs = 1000;
/** What a peer told longer ago says nothing of now. */
const lateMs = 3500;
/** Rotations that a member may have missed. A number further ahead of all that is known here was not reached by counting. */
const numberStepMax = 1000;
/** Larger ones are not read. */
const numberMax = 999_999_999;
/** Datagrams under an old key may be on their way, and files be read late, for much less than this. */
const graceMs = 3000;

const rotationRecord = 'keyring';
const rotationSchema = z.strictObject({
  /** The newest key that this agent has seen a rotation bring. */
  id: z.string(),
  /** Who was revoked by then. */
  covers: z.array(z.string()),
  /** The keys that were there before. */
  replaces: z.array(z.string()),
  /** This agent signs with it, or has: an operator may have changed that since. */
  used: z.boolean(),
});
type Rotation = z.output<typeof rotationSchema>;

export interface KeyRotationParts {
  readonly node: string;
  readonly cluster: string;
  /** Names of all others. */
  readonly peers: readonly string[];
  /** Of the keyring. */
  readonly path: string;
  readonly store: StateStore;
  readonly clock: Clock;
  /** Signed, under the key in use. */
  tellAll(body: Uint8Array): void;
  /** Signed, under this key. */
  tell(peer: string, body: Uint8Array, key: Uint8Array): void;
  /** Shows the own certificate to a peer that knows no newer key. */
  introduce(peer: string, key: Uint8Array): void;
  /** The file has changed. */
  reread(): void;
  /** Replicas whose certificate is revoked. */
  revoked(): readonly string[];
  /** Peers heard a moment ago. */
  heard(): readonly string[];
  /** This agent coordinates. */
  coordinates(): boolean;
  readonly log: Logger;
}

export interface RotationStatus {
  /** Who is revoked and does not know the key in use. */
  readonly covers: readonly string[];
  /** Members without which an older key cannot be removed yet. */
  readonly waitsFor: readonly string[];
  /** Why this agent cannot change its keyring, one line. */
  readonly problem: string | null;
}

type Ring = ReturnType<typeof readKeys>;

/**
 * Changes the cluster's key when a member is revoked, who knows the old one. The coordinator makes a key; whoever has it gives it to every member that says that it has not,
 * encrypted to a key that this member has signed. An agent signs with it once all members that it hears have it, and removes the old ones once all there are sign with it: a
 * member that was away still speaks with an old one, is heard, and is given the new one under the one it knows.
 */
export class KeyRotation {
  readonly #parts: KeyRotationParts;
  readonly #own = exchangeKey();
  readonly #told = new Map<string, { readonly said: Announcement; readonly at: number }>();
  #rotation: Rotation | null;
  readonly #startedAt: number;
  #usedAt: number;
  #waitsFor: readonly string[] = [];
  #problem: { readonly text: string; readonly at: number } | null = null;

  constructor(parts: KeyRotationParts) {
    this.#parts = parts;
    this.#rotation = remembered(parts.store);
    this.#startedAt = parts.clock.now();
    this.#usedAt = this.#startedAt;
  }

  /** Called every `rotationRoundMs`. */
  round(): void {
    const revoked = this.#parts.revoked();
    if (revoked.includes(this.#parts.node)) return;
    this.#attempt(() => this.#begin(revoked));
    // Also where no key can be made: those that are removed leave room for one.
    this.#attempt(() => {
      this.#use();
      this.#remove();
      this.#announce();
    });
  }

  /** What a member says, whose signature was verified. */
  hear(sender: string, body: Uint8Array): void {
    const { node, peers, revoked } = this.#parts;
    const message = decodeKeyringMessage(body);
    if (sender === node || !message.ok || !peers.includes(sender) || revoked().includes(sender)) return;
    const said = message.value;
    this.#attempt(() => (said.kind === 'gift' ? this.#take(sender, said) : this.#note(sender, said)));
  }

  status(): RotationStatus {
    const { clock } = this.#parts;
    const isDone = this.#rotation?.used === true;
    return {
      covers: isDone ? (this.#rotation?.covers ?? []) : [],
      waitsFor: this.#waitsFor,
      problem: this.#problem && clock.now() < this.#problem.at + lateMs ? this.#problem.text : null,
    };
  }

  /** The coordinator makes a key when somebody is revoked who knows all there are. Throws when there can be none more. */
  #begin(revoked: readonly string[]): void {
    const { coordinates, path, log, peers } = this.#parts;
    const ring = this.#ring();
    const covered = this.#rotation?.covers ?? [];
    // Who has a new certificate has been given the keyring anew.
    const covers = covered.filter((name) => revoked.includes(name));
    if (this.#rotation && covers.length < covered.length) this.#remember({ ...this.#rotation, covers });
    const uncovered = revoked.filter((name) => peers.includes(name) && !covers.includes(name));
    if (uncovered.length === 0 || !coordinates()) return;
    if (ring.keys.size >= announcedKeysMax) throw new Error(`it has ${ring.keys.size} keys already`);
    const told = peers.flatMap((name) => (revoked.includes(name) ? [] : (this.#lately(name)?.ids ?? [])));
    const known = this.#newestNumber(ring);
    const number = 1 + Math.max(known, ...told.map(numberOf).filter((each) => each <= known + numberStepMax));
    if (number > numberMax) throw new Error('the numbers of its keys are used up');
    const id = `r${number}-${randomBytes(4).toString('hex')}`;
    addKeyAs(path, id, freshSecret());
    log.warn(
      { key: id },
      `the keyring is changed, as ${uncovered.join(', ')} is revoked: a key was made for the others`,
    );
    this.#ring();
  }

  #use(): void {
    const { heard, revoked, path, clock, log } = this.#parts;
    const rotation = this.#rotation;
    if (!rotation || rotation.used || !this.#ring().keys.has(rotation.id)) return;
    // An agent that has just begun has not heard everybody yet.
    if (clock.now() < this.#startedAt + lateMs) return;
    this.#waitsFor = heard().filter(
      (name) => !revoked().includes(name) && !this.#lately(name)?.ids.includes(rotation.id),
    );
    if (this.#waitsFor.length > 0) return;
    useKey(path, rotation.id);
    this.#remember({ ...rotation, used: true });
    this.#usedAt = clock.now();
    this.#parts.reread();
    log.info({ key: rotation.id }, 'the keyring is changed: all who are heard have the new key, it signs now');
  }

  #remove(): void {
    const { peers, revoked, path, clock, log } = this.#parts;
    const rotation = this.#rotation;
    if (!rotation?.used) return;
    const ring = this.#ring();
    const old = rotation.replaces.filter((id) => ring.keys.has(id) && id !== ring.use);
    if (ring.use !== rotation.id || old.length === 0) return;
    const members = peers.filter((name) => !revoked().includes(name));
    this.#waitsFor = members.filter((name) => this.#lately(name)?.use !== rotation.id);
    if (this.#waitsFor.length > 0 || clock.now() < this.#usedAt + graceMs) return;
    for (const id of old) removeKey(path, id);
    this.#parts.reread();
    log.info({ keys: old }, 'the keyring is changed: the old keys are removed');
  }

  #announce(): void {
    const { use, keys } = this.#ring();
    const newestFirst = [...keys.keys()].sort((a, b) => numberOf(b) - numberOf(a));
    const ids = newestFirst.filter(fits).slice(0, announcedKeysMax);
    const said = { ids, use: fits(use) ? use : '', publicKey: this.#own.publicKey };
    this.#parts.tellAll(encodeKeyringMessage({ kind: 'announcement', ...said }));
  }

  /** Whoever lacks the newest key is given it, under the key that it signs with. */
  #note(sender: string, said: Announcement): void {
    const { clock, introduce, tell } = this.#parts;
    this.#told.set(sender, { said, at: clock.now() });
    const id = this.#rotation?.id;
    if (id === undefined || said.ids.includes(id)) return;
    const { keys } = this.#ring();
    const secret = keys.get(id);
    const known = keys.get(said.use);
    if (!secret || !known) return;
    const sealed = sealKey(secret, said.publicKey, this.#context(this.#parts.node, sender, id));
    introduce(sender, known);
    const gift = { kind: 'gift', to: sender, id, recipientKey: said.publicKey, ...sealed } as const;
    tell(sender, encodeKeyringMessage(gift), known);
  }

  #take(giver: string, gift: Gift): void {
    const { node, path, log } = this.#parts;
    if (gift.to !== node || !Buffer.from(gift.recipientKey).equals(this.#own.publicKey)) return;
    const ring = this.#ring();
    const { keys } = ring;
    const number = numberOf(gift.id);
    if (keys.has(gift.id) || number < Math.max(1, numberOf(this.#rotation?.id ?? ''))) return;
    if (number > this.#newestNumber(ring) + numberStepMax) return;
    if (keys.size >= announcedKeysMax) throw new Error(`it has ${keys.size} keys already`);
    const secret = openKey(gift, this.#own, this.#context(giver, node, gift.id));
    if (!secret) return;
    addKeyAs(path, gift.id, secret);
    this.#parts.reread();
    log.info({ key: gift.id, from: giver }, 'the keyring is changed: there is a new key');
    this.#ring();
    const rotation = this.#rotation;
    // Two were made at the same time, and this is the one that goes; until then somebody may sign with it.
    if (rotation && byAge(gift.id, rotation.id) > 0) {
      this.#remember({ ...rotation, replaces: [...new Set([...rotation.replaces, gift.id])] });
    }
    this.#announce();
  }

  #context(giver: string, to: string, id: string): string {
    return `manycast keyring ${this.#parts.cluster} ${giver} ${to} ${id}`;
  }

  #lately(name: string): Announcement | null {
    const told = this.#told.get(name);
    return told && this.#parts.clock.now() < told.at + lateMs ? told.said : null;
  }

  /** Of all rotations that this agent has seen. */
  #newestNumber({ keys }: Ring): number {
    return Math.max(...[this.#rotation?.id ?? '', ...keys.keys()].map(numberOf));
  }

  /** As it is on disk; a newer key in it, whoever has put it there, begins a rotation here. */
  #ring(): Ring {
    const ring = readKeys(this.#parts.path);
    const [newest] = [...ring.keys.keys()].filter((id) => numberOf(id) > 0).sort(byAge);
    if (newest !== undefined && byAge(newest, this.#rotation?.id ?? '') < 0) {
      const replaces = [...ring.keys.keys()].filter((id) => id !== newest);
      this.#remember({ id: newest, covers: [...this.#parts.revoked()], replaces, used: false });
    }
    return ring;
  }

  #remember(rotation: Rotation): void {
    this.#parts.store.write(rotationRecord, new TextEncoder().encode(JSON.stringify(rotation)));
    this.#rotation = rotation;
  }

  /** What fails is logged once, and tried again by and by. */
  #attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      const text = messageOf(error);
      const at = this.#parts.clock.now();
      const isNews = this.#problem?.text !== text || at > this.#problem.at + lateMs;
      if (isNews) this.#parts.log.error({ err: error }, `the keyring cannot be changed: ${text}`);
      this.#problem = { text, at };
    }
  }
}

/** 0 for a key that no rotation has made. */
function numberOf(id: string): number {
  return Number(/^r([1-9]\d{0,8})-[0-9a-f]{8}$/.exec(id)?.[1] ?? 0);
}

/** Newest first. Two that were made at the same time have an order too, which is the same for everybody. */
function byAge(a: string, b: string): number {
  return numberOf(b) - numberOf(a) || (a < b ? 1 : a > b ? -1 : 0);
}

function fits(id: string): boolean {
  return /^[ -~]{1,32}$/.test(id);
}

function remembered(store: StateStore): Rotation | null {
  const stored = store.read(rotationRecord);
  if (stored === null) return null;
  try {
    const parsed = rotationSchema.safeParse(JSON.parse(new TextDecoder().decode(stored)));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}
