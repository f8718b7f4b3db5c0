// How many signed joins of known members a router checks and takes into account in a second of one core: parsing, time, random key, certificate, RSA-2048 signature, epoch, shares. Beside it the bare verification of the
// same signatures by the same library (OpenSSL through node:crypto), in the same rounds: what no implementation with these signatures can do without. Left out: the socket, and what a flood of forged joins does to
// good ones, which scripts/joins.mjs shows.
import { authority, checkedPerSecond } from '../signed-joins.mjs';
import { spread } from '../statistics.mjs';

export const title = 'Signed joins';
export const programs = [];

/** @param {{ quick: boolean, say: (text: string) => void }} options */
export async function measure({ quick, say }) {
  const site = authority('site1');
  const members = Array.from({ length: 4 }, (_, i) => site.member(`web${i + 1}`, `10.77.0.${21 + i}`));
  say('signing and checking');
  const rounds = checkedPerSecond(site, members, 8000, quick ? 3 : 8);
  const ways = { 'joins checked': 'joins', 'bare RSA-2048 verifications': 'bare' };
  const values = (kind) => rounds.map((round) => round[kind]);
  return {
    metrics: Object.entries(ways).map(([name, kind]) => ({
      ...{ name, metric: 'per second of one core', unit: '1/s', values: values(kind) },
    })),
    ratios: [{ name: 'joins checked / bare verifications', values: rounds.map(({ joins, bare }) => joins / bare) }],
    plots: [
      {
        ...{ file: 'joins.svg', title: 'Signed joins that one core checks in a second', unit: '1/s' },
        bars: Object.entries(ways).map(([label, kind]) => ({ label, ...spread(values(kind)) })),
      },
    ],
    notes: [],
  };
}
