import { mainConnections, type Answers } from "./answers.ts";
import type { Bench } from "./bench.ts";
import { generate } from "./generate.ts";
import type { Lineup, Started } from "./lineup.ts";
import type { PacedJob, PacedResult } from "./load-paced.ts";
import { medianOf, takeTurns, type Rounds } from "./rounds.ts";

/** Share of a proxy's measured requests/s at which it is paced. */
const shareOfCapacity = 0.1;

/** A proxy at a tenth of its own capacity, and the upstream directly at the same rate just before. */
export interface PacedSample {
  ratePerS: number;
  proxy: PacedResult;
  direct: PacedResult;
}

export async function measurePaced(bench: Bench, lineup: Lineup, started: Started[], answers: Answers): Promise<Rounds<PacedSample>> {
  const direct = started.find(({ name }) => name === "direct");
  const capacity = answers.get(mainConnections);
  if (!direct || !capacity) return new Map();
  const proxies = started.filter((one) => one !== direct && capacity.has(one.name));

  function run({ running }: Started, ratePerS: number): Promise<PacedResult> {
    return generate<PacedResult>(bench, { kind: "paced", url: running.url, headers: running.headers, ratePerS, seconds: bench.options.seconds } satisfies PacedJob);
  }
  return takeTurns(bench, lineup, proxies, "paced", async (one) => {
    const ratePerS = Math.max(1, medianOf(capacity, one.name, ({ requestsPerS }) => requestsPerS) * shareOfCapacity);
    return { ratePerS, direct: await run(direct, ratePerS), proxy: await run(one, ratePerS) };
  });
}
