import { describe, expect, test } from "vitest";
import { refusalsForMs } from "../../edge/hub/refusals.ts";
import { settleMs } from "./checks.ts";
import { simulate, type Report, type ServiceFacts, type WorldFacts } from "./simulate.ts";

const busyMs = 120_000;
const host = (id: string, more: Partial<WorldFacts["hosts"][number]> = {}): WorldFacts["hosts"][number] => ({ id, region: "weur", gpus: 1, ...more });
const refuses = (id: string): WorldFacts["hosts"][number] => host(id, { refusal: `${id} runs no unsigned service` });

function lived(hosts: WorldFacts["hosts"], count: number, more: Partial<ServiceFacts> = {}, rests = true): Report {
  return simulate({ seed: 1, untilMs: busyMs + settleMs, ...(rests ? { restMs: busyMs } : {}), hosts, demand: {}, services: [{ name: "chat", policy: { autoscaler: "fixed", min: count, max: count }, coldStartMs: { p50: 15_000, p95: 20_000 }, ...more }] });
}

describe("hosts that refuse what they are given", () => {
  test("a service gets ready on those that do not, and none of its replicas is given back to one that does", () => {
    const { moments, lines } = lived([refuses("a"), refuses("b"), host("c"), host("d")], 2);
    expect(moments.find(({ at }) => at >= 25_000)?.ready).toBe(2);
    // each was asked once
    expect(lines.filter((line) => line.includes("is provisioning")).length).toBe(2);
    expect(moments.at(-1)).toMatchObject({ ready: 2, assigned: 2 });
  });

  test("an update is not taken back because of a host that refuses its first replica", () => {
    const { desires } = lived([refuses("a"), host("b"), host("c")], 1, { rollout: { mode: "canary", rollback: true }, updates: [{ atMs: 60_000 }] });
    expect(desires.some(({ desire: { rollout } }) => rollout?.state === "rolled_back" || rollout?.state === "stuck")).toBe(false);
    expect(desires.at(-1)?.desire.rollout).toMatchObject({ state: "done", version: 2 });
  });

  test("where all do, the service is stuck and says why", () => {
    const { desires, moments } = lived([refuses("a"), refuses("b")], 1, {}, false);
    expect(desires.at(-1)?.desire.rollout).toMatchObject({ state: "stuck", reason: expect.stringMatching(/never got ready: chat\.weur\.\d+ failed/) });
    expect(moments.at(-1)).toMatchObject({ ready: 0 });
  });
});

test("where all did and one has changed its mind, the service gets ready there when that one is asked again", () => {
  const changedMs = 300_000;
  const { moments, lines } = lived([refuses("a"), { ...refuses("b"), refusesUntilMs: changedMs }], 1, {}, false);
  // it was given to each at once, and then left with one
  expect(lines.filter((line) => line.includes("is provisioning")).length).toBe(1);
  const readyAt = moments.find(({ ready }) => ready === 1)?.at;
  expect(readyAt).toBeGreaterThan(refusalsForMs);
  expect(readyAt).toBeLessThan(refusalsForMs + 30_000);
});

test("row 38: what would wait for room on a full disk starts on another host", () => {
  const { moments } = lived([host("a", { disk: { fullFromMs: 0, untilMs: Number.POSITIVE_INFINITY } }), host("b"), host("c")], 2);
  expect(moments.find(({ at }) => at >= 25_000)?.ready).toBe(2);
});
