import { expect, test } from "vitest";
import { canBecome, isAlive, isOver, phaseSchema, phases, transitions, type Phase } from "./replica.ts";

/** Every phase that can follow, over any number of steps. */
function reachable(from: Phase): Set<Phase> {
  const seen = new Set<Phase>([from]);
  for (const phase of seen) for (const next of transitions[phase]) seen.add(next);
  return seen;
}

test("every phase is in the table, and leads to phases only", () => {
  expect(Object.keys(transitions).sort()).toEqual([...phases].sort());
  for (const phase of phases) for (const next of transitions[phase]) expect(phases).toContain(next);
});

test("every phase is reached from pending, and reaches an end", () => {
  expect([...reachable("pending")].sort()).toEqual([...phases].sort());
  for (const phase of phases) expect([...reachable(phase)].some(isOver), phase).toBe(true);
});

test("the ends are stopped, failed and reclaimed; nothing follows them", () => {
  expect(phases.filter(isOver)).toEqual(["stopped", "failed", "reclaimed"]);
  for (const from of phases.filter(isOver)) for (const to of phases) expect(canBecome(from, to), `${from} to ${to}`).toBe(false);
});

test("a replica holds its place until it is over", () => {
  for (const phase of phases) expect(isAlive(phase)).toBe(!isOver(phase));
});

test("no phase becomes itself, and what drains never serves again", () => {
  for (const phase of phases) expect(canBecome(phase, phase), phase).toBe(false);
  expect(reachable("draining").has("ready")).toBe(false);
});

test("every phase that is not over can be brought to its end by stopping", () => {
  for (const phase of phases) if (isAlive(phase) && phase !== "stopping") expect(reachable(phase).has("stopping"), phase).toBe(true);
});

test("a word that is no phase is refused", () => {
  expect(phaseSchema.safeParse("ready").success).toBe(true);
  for (const word of ["Ready", "", "unknown", null]) expect(phaseSchema.safeParse(word).success, String(word)).toBe(false);
});
