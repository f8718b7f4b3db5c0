/** A failure of the surroundings or of input by a person: a stable code, one clear line, and what to do about it. */
export class OperatingError extends Error {
  readonly code: string;
  /** What the reader can do, one line; absent when the message says it. */
  readonly remedy: string | undefined;

  constructor(code: string, message: string, options: { remedy?: string; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.name = 'OperatingError';
    this.code = code;
    this.remedy = options.remedy;
  }
}

/** One line about any thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The same of what went wrong with a file, which it names: not all errors of the system do. */
export function messageAbout(path: string, error: unknown): string {
  const message = messageOf(error);
  return message.includes(path) ? message : `${path}: ${message}`;
}
