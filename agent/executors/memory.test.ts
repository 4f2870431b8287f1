import { expect, test } from "vitest";
import { countOf, outOfMemoryKills, wasForMemory } from "./memory.ts";

test("countOf() reads a counter by its whole name", () => {
  expect(countOf("oom_kill", "oom 3\noom_kill 2\noom_kill_other 9\n")).toBe(2);
  expect(countOf("oom_kill", "oom 3\n")).toBeUndefined();
});

test.each([
  ["SIGKILL", 4, 5, "likely"],
  ["SIGKILL", 4, 4, undefined],
  ["SIGTERM", 4, 5, undefined],
  ["SIGKILL", undefined, 5, undefined],
  [undefined, 4, 5, undefined],
] as const)("wasForMemory(%s, %s, %s) is %s", (signal, before, after, expected) => {
  expect(wasForMemory(signal, before, after)).toBe(expected);
});

test.runIf(process.platform === "linux")("outOfMemoryKills() is told by this kernel", async () => {
  expect(await outOfMemoryKills()).toBeGreaterThanOrEqual(0);
});
