import { messageOf } from '../base/operating-error.ts';
import { type Result, refuse } from '../base/result.ts';
import { contentOf, watchFile } from '../platform/watched-file.ts';
import { canonicalPolicy, type Policy, parsePolicy } from '../policy/index.ts';

/** The policy file beside what is in force: `differs` is no fault, only a file that nobody has saved since. */
export type PolicyFileState = 'in force' | 'differs' | 'missing' | 'refused';

/** The file that this agent watches. */
export interface PolicyFile {
  /** As it stands; null when there is none, it cannot be read or it is refused. */
  read(): Policy | null;
  compare(inForce: Policy | null): { state: PolicyFileState; problem: string | null };
  close(): void;
}

/** Saving a good file calls `onPolicy`; saving a bad one calls `onRefusal` with one line and changes nothing. */
export function watchPolicyFile(
  path: string,
  slotCount: number,
  onPolicy: (policy: Policy) => void,
  onRefusal: (line: string) => void,
): PolicyFile {
  const watched = watchFile(path, (content) => {
    const parsed = parsePolicy(content, slotCount);
    if (parsed.ok) onPolicy(parsed.value);
    else onRefusal(`${path}: ${parsed.reason}`);
  });

  /** Null when there is none. A file that cannot be read is refused like one that cannot be understood. */
  function parsed(): Result<Policy> | null {
    try {
      const content = contentOf(path);
      return content === null ? null : parsePolicy(content, slotCount);
    } catch (error) {
      return refuse(messageOf(error));
    }
  }

  return {
    read(): Policy | null {
      const file = parsed();
      return file?.ok ? file.value : null;
    },
    compare(inForce: Policy | null): { state: PolicyFileState; problem: string | null } {
      const file = parsed();
      if (!file) return { state: 'missing', problem: null };
      if (!file.ok) return { state: 'refused', problem: file.reason };
      const same = inForce !== null && canonicalPolicy(file.value) === canonicalPolicy(inForce);
      return { state: same ? 'in force' : 'differs', problem: null };
    },
    close: () => watched.close(),
  };
}
