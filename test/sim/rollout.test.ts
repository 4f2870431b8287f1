import { describe, expect, test } from "vitest";
import { arrivals, steady } from "./demand.ts";
import { simulate, type Report, type ServiceFacts } from "./simulate.ts";

const updateMs = 120_000;
const untilMs = 600_000;

/** Three replicas on three hosts with room for one each, so that an update is one after the other; under load. */
function updated(second: NonNullable<ServiceFacts["versions"]>[number]): Report {
  return simulate({
    seed: 1, untilMs,
    hosts: [0, 1, 2].map((i) => ({ id: `host-${i}`, region: "weur", gpus: 1 })),
    services: [{ name: "chat", policy: { autoscaler: "fixed", min: 3, max: 3 }, coldStartMs: { p50: 40_000, p95: 50_000 }, versions: { 2: second }, updates: [{ atMs: updateMs }] }],
    demand: { chat: (random) => arrivals({ rate: steady(2), cv: 1, untilMs, random }) },
  });
}

const last = ({ desires }: Report) => desires.at(-1)?.desire.rollout;

describe("a rolling update where there is room for no more", () => {
  test("whose version fails half of its requests is taken back after its first replica, and no client hears of it", () => {
    const report = updated({ failures: 0.5 });
    expect(last(report)).toMatchObject({ mode: "rolling", state: "rolled_back", version: 2, from: 1, reason: expect.stringMatching(/^version 2 was rolled back: \d+ of \d+ attempts on it failed/) });
    expect(report.moments.at(-1)).toMatchObject({ ready: 3, assigned: 3 });
    // one of version 2 was ready, and the two old ones whose places were given away by then are started again
    expect(report.lines.filter((line) => /is ready/.test(line)).length).toBe(3 + 1 + 2);
    expect(report.outcomes["chat"]).toMatchObject({ failed: 0, refused: 0, cutByStop: 0, drained: 0 });
  });

  test("whose version is as good comes to its end", () => {
    const report = updated({});
    expect(last(report)).toMatchObject({ state: "done", version: 2 });
    expect(report.moments.at(-1)).toMatchObject({ ready: 3, assigned: 3 });
    expect(report.outcomes["chat"]).toMatchObject({ failed: 0, refused: 0, cutByStop: 0 });
  });
});
