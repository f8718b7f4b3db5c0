import { newKeyring } from '../platform/keyring.ts';

export async function makeKeyring({ out }: { out: string }): Promise<void> {
  newKeyring(out);
  process.stdout.write(`${out} written, readable by you alone; copy it to every replica over a safe channel\n`);
}
