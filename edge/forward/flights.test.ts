import { describe, expect, test } from "vitest";
import { Observed } from "../route/observed.ts";
import { Flights } from "./flights.ts";

describe("Flights", () => {
  test("an attempt that is said to end twice ends once", () => {
    const observed = new Observed();
    const flights = new Flights(observed);
    const one = flights.begin("a", 0, 100);
    flights.begin("a", 0, 100);
    for (let i = 0; i < 3; i++) flights.end(one, 1);
    expect(observed.inFlight("a")).toBe(1);
  });

  test("an attempt whose end is never said is in flight for no longer than its request may take", () => {
    const observed = new Observed();
    const flights = new Flights(observed);
    for (let now = 0; now < 1_000; now++) flights.begin("a", now, now + 100);
    expect(observed.inFlight("a")).toBe(100);
    const last = flights.begin("b", 2_000, 2_100);
    expect([observed.inFlight("a"), observed.inFlight("b")]).toEqual([0, 1]);
    flights.end(last, 2_001);
    expect(observed.inFlight("b")).toBe(0);
  });
});
