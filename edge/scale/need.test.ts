import { describe, expect, test } from "vitest";
import { policy, replicas, signals } from "../../test/scaling.ts";
import { need } from "./need.ts";

const capacity = { wellPerS: 1.25, perS: 1.5, slots: 30, beginsPerS: 3 };
const bounds = { min: 1, max: 100 };
const scaling = policy({ autoscaler: "adaptive", min: 1, max: 100, targetQps: 1.25 });

/** Ten requests/s for ten minutes in clumps of so many, with so many that wait. */
function needed(size: number, waiting: number): { must: number; why: string } {
  const arrivals = Array.from({ length: 600 }, (_, i) => (i % (size / 10) === 0 ? size : 0));
  const seen = signals({ arrivals, concurrency: [100], waiting, coldStartMs: 90_000, replicas: replicas(10) });
  return need({ policy: scaling, signals: seen, bounds, now: 0 }, undefined, capacity, 90_000, 0);
}

describe("what waits", () => {
  test.each([
    { name: "of calm demand counts whole but for half a dozen", size: 10, waiting: 400, starts: true },
    { name: "of clumps is no more than clumps make: none is started for it", size: 400, waiting: 1000, starts: false },
    { name: "beyond what clumps make counts", size: 400, waiting: 6000, starts: true },
  ])("$name", ({ size, waiting, starts }) => {
    const [calm, queued] = [needed(size, 0), needed(size, waiting)];
    if (starts) expect(queued.must).toBeGreaterThan(calm.must);
    else expect(queued.must).toBe(calm.must);
  });
});
