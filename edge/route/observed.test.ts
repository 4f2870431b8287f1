import { describe, expect, test } from "vitest";
import { Observed, loadSince } from "./observed.ts";
import { requestFacts } from "./request.ts";

describe("Observed", () => {
  test("counts what is in flight; an end too many is none", () => {
    const observed = new Observed();
    observed.started("a", 1);
    observed.started("a", 2);
    expect(observed.inFlight("a")).toBe(2);
    for (let i = 0; i < 3; i++) observed.ended("a", 3);
    expect([observed.inFlight("a"), observed.inFlight("b")]).toEqual([0, 0]);
    observed.ended("b", 3);
    expect(observed.get("b")).toBeUndefined();
  });

  test("brings a reading up to now by what it cannot contain", () => {
    const observed = new Observed();
    for (const now of [10, 20, 30]) observed.started("a", now);
    const at = (reading: number, readAt: number): number => loadSince(observed.get("a") ?? expect.fail(), reading, readAt);
    expect([at(5, 5), at(5, 10), at(5, 20), at(5, 30)]).toEqual([8, 7, 6, 5]);
    observed.ended("a", 40);
    expect([at(5, 30), at(5, 40), at(0, 50)]).toEqual([4, 5, 2]);
  });

  test("knows how long requests stay, whichever of them it is that ends; where it had none, as elsewhere", () => {
    const observed = new Observed();
    expect(observed.stayMs).toBe(5_000);
    for (const now of [1_000, 2_000, 3_000]) observed.started("a", now);
    observed.ended("a", 5_000);
    expect([observed.get("a")?.stayMs, observed.stayMs]).toEqual([4_000, 4_000]);
    observed.ended("a", 6_000);
    observed.ended("a", 11_000);
    expect(observed.get("a")?.stayMs).toBe(4_500);
    observed.started("b", 12_000);
    expect(observed.get("b")?.stayMs).toBeUndefined();
    expect(observed.stayMs).toBe(4_500);
  });

  test("a peak counts at once, what is better only as time passes, and all fades", () => {
    const observed = new Observed();
    expect(observed.ttftMs("a", 0)).toBeUndefined();
    observed.firstByte("a", 100, 0);
    observed.firstByte("a", 900, 0);
    expect(observed.ttftMs("a", 0)).toBe(900);
    observed.firstByte("a", 100, 1);
    expect(observed.ttftMs("a", 1)).toBeGreaterThan(890);
    observed.firstByte("a", 100, 10_001);
    expect(observed.ttftMs("a", 10_001)).toBeCloseTo(100 + 800 / Math.E, 0);
    expect(observed.ttftMs("a", 20_001)).toBeCloseTo((100 + 800 / Math.E) / Math.E, 0);
  });

  test("knows what an upstream has still to read, and that a known prefix need not be", () => {
    const observed = new Observed();
    const request = requestFacts({ model: "m", prompt: "word ".repeat(800) }, 4_000, "a");
    expect(request.hashed).toBe(false);
    void request.prefix;
    observed.started("a", 0, request);
    expect(observed.get("a")?.waitingTokens).toBe(1_000);
    observed.started("a", 0, request);
    expect(observed.get("a")?.waitingTokens).toBe(1_000);
    observed.firstByte("a", 10, 1);
    expect(observed.get("a")?.waitingTokens).toBe(0);
    observed.ended("a", 2);
    observed.ended("a", 2);
    observed.started("b", 0, request);
    observed.ended("b", 0);
    expect(observed.get("b")?.waitingTokens).toBe(0);
  });

  test("is bounded, and does not forget what is in flight", () => {
    const observed = new Observed();
    observed.started("busy", 0);
    for (let i = 0; i < 5_000; i++) {
      observed.started(`r${i}`, i);
      observed.ended(`r${i}`, i);
    }
    expect(observed.size).toBeLessThanOrEqual(512);
    expect(observed.inFlight("busy")).toBe(1);
    expect(observed.get("r4999")).toBeDefined();
    expect(observed.get("r0")).toBeUndefined();
  });
});
