import type { Bench } from "./bench.ts";
import { noteGap, type Lineup, type Started } from "./lineup.ts";
import { median } from "./quantile.ts";

/** Samples of each peer, one for each round. */
export type Rounds<T> = Map<string, T[]>;

/** Lets the peers take turns: A, B, C, A, B, C … One that fails has no figures for this scenario, and the reason is noted. */
export async function takeTurns<T>(bench: Bench, lineup: Lineup, started: Started[], what: string, sample: (one: Started) => Promise<T>, rounds = bench.options.rounds): Promise<Rounds<T>> {
  const samples: Rounds<T> = new Map(started.map(({ name }) => [name, []]));
  for (let round = 1; round <= rounds; round++) {
    for (const one of started) {
      const own = samples.get(one.name);
      if (!own) continue;
      bench.say(`${what}: round ${round} of ${rounds}: ${one.name}`);
      try {
        own.push(await sample(one));
      } catch (error) {
        noteGap(bench, lineup, what, one.name, error);
        samples.delete(one.name);
      }
    }
  }
  return samples;
}

/** One round that counts for nothing: compiles code and opens connections. */
export function warmUp<T>(bench: Bench, lineup: Lineup, started: Started[], what: string, sample: (one: Started) => Promise<T>): Promise<Rounds<T>> {
  return takeTurns(bench, lineup, started, `${what}, warm-up`, sample, 1);
}

/** The median over rounds of one figure of a peer; NaN where it has none. */
export function medianOf<T>(rounds: Rounds<T>, name: string, figure: (sample: T) => number): number {
  return median((rounds.get(name) ?? []).map(figure));
}

/** The median over rounds of a peer's figure against another's in the same round, so that a slow minute of the machine touches both. */
export function medianAgainst<T>(rounds: Rounds<T>, name: string, other: string, figure: (sample: T) => number, compare: (a: number, b: number) => number): number {
  const others = rounds.get(other) ?? [];
  return median((rounds.get(name) ?? []).flatMap((sample, round) => (others[round] === undefined ? [] : [compare(figure(sample), figure(others[round]))])));
}

export const ratio = (a: number, b: number) => a / b;
export const difference = (a: number, b: number) => a - b;
