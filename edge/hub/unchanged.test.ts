import { describe, expect, test } from "vitest";
import { newRow } from "./roster.ts";
import { Unchanged } from "./unchanged.ts";

describe("Unchanged", () => {
  const row = newRow("h1", 1, 5);

  test("knows the heartbeat that made the row, by its text", () => {
    const unchanged = new Unchanged();
    expect(unchanged.is("beat", row)).toBe(false);
    unchanged.took("h1", "beat", row);
    expect(unchanged.is("beat", row)).toBe(true);
    expect(unchanged.is("another", row)).toBe(false);
  });

  test("anything else that has made a row since means that it is read anew", () => {
    const unchanged = new Unchanged();
    unchanged.took("h1", "beat", row);
    expect(unchanged.is("beat", { ...row })).toBe(false);
    unchanged.forget("h1");
    expect(unchanged.is("beat", row)).toBe(false);
  });

  test("long ones are not kept", () => {
    const unchanged = new Unchanged();
    const text = "x".repeat(4 * 1024 + 1);
    unchanged.took("h1", text, row);
    expect(unchanged.is(text, row)).toBe(false);
  });
});
