import type { RotationStatus } from './key-rotation.ts';

/** Whether the members of the cluster sign what they say, and who is not believed. */
export interface SignatureStatus {
  /** `none`: this replica has no certificates. `accepted`: unsigned messages are heard too. */
  readonly mode: 'none' | 'accepted' | 'required';
  /** Peers that are heard and do not sign. */
  readonly unsigned: readonly string[];
  /** Peers in whose name something came of late, authenticated by the cluster's key, and was not believed: why the last was not. */
  readonly refused: Readonly<Record<string, string>>;
  /** Replicas whose certificate is revoked. */
  readonly revoked: readonly string[];
  /** Days until the own certificate is over, when these are few; else null. */
  readonly daysLeft: number | null;
  /** How far the keyring is changed for who is revoked; null where a person is to do that. */
  readonly rotation: RotationStatus | null;
}

export const noSignatures: SignatureStatus = {
  mode: 'none',
  unsigned: [],
  refused: {},
  revoked: [],
  daysLeft: null,
  rotation: null,
};

const modes: Readonly<Record<SignatureStatus['mode'], string>> = {
  none: 'control messages are not signed: agent.yaml names no certificates',
  accepted: 'control messages are signed; unsigned ones are heard too (control.signatures: accepted)',
  required: 'control messages are signed',
};

/** Also for the log. */
export const revokedHere =
  'the certificate of this replica is revoked: no peer hears it; issue it a new one (manycast keys issue)';

/** By the beginning of the reason. */
const remedies: readonly (readonly [string, string])[] = [
  [
    'not signed',
    'name certificates in its agent.yaml, or set control.signatures: accepted here while the cluster is being changed over',
  ],
  ['certificate not known', 'it has not shown its certificate yet'],
  ['certificate expired', 'issue it a new one (manycast keys issue), or look at the clocks'],
  ['certificate not in force', 'look at the clocks'],
  ['certificate of another authority', 'compare `ca` in agent.yaml'],
  [
    'certificate of another',
    'somebody with the keyring speaks for it, or its agent.yaml names the certificate of another',
  ],
  [
    'wrong signature',
    'somebody with the keyring speaks for it: change the keyring (manycast keyring add, use, remove)',
  ],
];

/** The mode, and one line for each thing that is wrong, as `node` sees it. */
export function signatureLines(status: SignatureStatus, node: string): string[] {
  const { mode, unsigned, refused, revoked, daysLeft, rotation } = status;
  const lines = [modes[mode]];
  if (daysLeft !== null) {
    lines.push(`the certificate of this replica is over in ${daysLeft} days: issue it a new one (manycast keys issue)`);
  }
  if (unsigned.length > 0) lines.push(`heard without a signature: ${unsigned.join(', ')}`);
  for (const name of revoked) {
    if (name === node) {
      lines.push(revokedHere);
      continue;
    }
    const speaks = refused[name] === undefined ? '' : ' and still speaks with the keyring';
    lines.push(`${name}: its certificate is revoked${speaks}; ${keyringLine(name, rotation)}`);
  }
  for (const [name, reason] of Object.entries(refused)) {
    if (revoked.includes(name)) continue;
    const remedy = remedies.find(([begin]) => reason.startsWith(begin))?.[1];
    lines.push(`in the name of ${name}, not believed: ${reason}${remedy ? `; ${remedy}` : ''}`);
  }
  return lines;
}

const byHand = 'change it everywhere else (manycast keyring add, use, remove)';

function keyringLine(name: string, rotation: RotationStatus | null): string {
  if (rotation === null) return `it knows the keyring: ${byHand}`;
  const { covers, waitsFor, problem } = rotation;
  if (problem !== null) return `the keyring cannot be changed: ${problem}`;
  if (waitsFor.length > 0) {
    return `the keyring is being changed, and the key it knows is heard until ${waitsFor.join(', ')} ${waitsFor.length > 1 ? 'have' : 'has'} the new one`;
  }
  return covers.includes(name) ? 'the keyring has been changed' : 'the keyring is to be changed, by the coordinator';
}
