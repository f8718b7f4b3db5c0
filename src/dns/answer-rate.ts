/** What becomes of an answer by UDP, whose asker may not be who it seems. */
export type RateVerdict =
  | 'answer'
  /** Only "ask by TCP", which is no longer than the question. */
  | 'truncate'
  | 'drop';

export interface AnswerRate {
  /** `nowMs` only grows. */
  judge(source: string, nowMs: number): RateVerdict;
}

export interface AnswerRateLimits {
  /** Answers a second to one network, and at once. */
  readonly perSecond: number;
  readonly burst: number;
  /** To all together. */
  readonly perSecondOfAll: number;
  /** Networks remembered; the longest known is forgotten first. */
  readonly networksMax: number;
}

export const answerRateLimits: AnswerRateLimits = { perSecond: 20, burst: 50, perSecondOfAll: 2000, networksMax: 8192 };

interface Bucket {
  tokens: number;
  atMs: number;
}

/**
 * Keeps the server from being an amplifier: who sends questions in the name of a victim has it sent no more than this. Of what is too much every
 * second question is told to come by TCP, which proves the asker's address, so that a true one under a flood is still answered.
 */
export function answerRate(limits: AnswerRateLimits = answerRateLimits): AnswerRate {
  const { perSecond, burst, perSecondOfAll, networksMax } = limits;
  const networks = new Map<string, Bucket>();
  const all: Bucket = { tokens: perSecondOfAll, atMs: 0 };
  let refusedCount = 0;

  function bucketOf(network: string, nowMs: number): Bucket {
    const known = networks.get(network);
    if (known) return known;
    if (networks.size >= networksMax)
      for (const oldest of networks.keys()) {
        networks.delete(oldest);
        break;
      }
    const fresh = { tokens: burst, atMs: nowMs };
    networks.set(network, fresh);
    return fresh;
  }

  return {
    judge(source, nowMs) {
      const bucket = bucketOf(networkOf(source), nowMs);
      fill(bucket, { perSecond, burst, nowMs });
      fill(all, { perSecond: perSecondOfAll, burst: perSecondOfAll, nowMs });
      if (bucket.tokens >= 1 && all.tokens >= 1) {
        bucket.tokens--;
        all.tokens--;
        return 'answer';
      }
      return refusedCount++ % 2 === 0 ? 'truncate' : 'drop';
    },
  };
}

function fill(
  bucket: Bucket,
  { perSecond, burst, nowMs }: { readonly perSecond: number; readonly burst: number; readonly nowMs: number },
): void {
  bucket.tokens = Math.min(burst, bucket.tokens + ((nowMs - bucket.atMs) / 1000) * perSecond);
  bucket.atMs = nowMs;
}

/** A victim has a link, and on it many addresses: 24 bits of IPv4. */
function networkOf(source: string): string {
  return source.replace(/\.\d+$/, '');
}
