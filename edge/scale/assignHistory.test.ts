import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isOver, phases, type Phase } from "../../schema/replica.ts";
import { Fleet, host, task } from "../../test/assignment.ts";
import { assign, type AssignTarget, type Assigned } from "./assign.ts";

// ——— any fleet, any history ———

const digests = ["d1", "d2", "d3"];

interface Move {
  services: { count: number; digest: number; gpus: number; port: boolean }[];
  hosts: { present: boolean; usable: boolean; lost: boolean; gpus: number; leaving: boolean; full: boolean; refuses: number }[];
  phases: Phase[];
  /** Of those that failed, whether their hosts would not run them. */
  refused: boolean[];
  remove: number;
}

const move: fc.Arbitrary<Move> = fc.record({
  services: fc.array(fc.record({ count: fc.nat(4), digest: fc.nat(digests.length - 1), gpus: fc.nat(2), port: fc.boolean() }), { minLength: 1, maxLength: 3 }),
  hosts: fc.array(
    fc.record({ present: fc.constantFrom(true, true, true, false), usable: fc.constantFrom(true, true, false), lost: fc.constantFrom(false, false, false, true), gpus: fc.nat(4), leaving: fc.constantFrom(false, false, false, true), full: fc.constantFrom(false, false, true), refuses: fc.nat(2 ** digests.length - 1) }),
    { maxLength: 4 },
  ),
  phases: fc.array(fc.constantFrom<Phase>(...phases, "ready", "ready", "ready"), { maxLength: 12 }),
  refused: fc.array(fc.boolean(), { maxLength: 12 }),
  remove: fc.nat(20),
});
const history = fc.array(move, { minLength: 1, maxLength: 5 });

/** Let a region live through its moves; look at it after each plan. */
function live(moves: readonly Move[], look: (fleet: Fleet, placement: Assigned, before: Fleet["assigned"]) => void): void {
  const fleet = new Fleet();
  for (const { services, hosts, phases: next, refused, remove } of moves) {
    // a digest says what a replica takes: the same digest, the same needs
    fleet.services = services.map(({ count, digest, gpus, port }, i) => ({ service: `s${i}`, targets: [{ count, task: task(`s${i}`, `s${i}-${digests[digest]}-${gpus}-${port}`, { gpus, ...(port ? { fixedPort: 8080 } : {}) }) }] }));
    fleet.hosts = hosts.flatMap(({ present, usable, lost, gpus, leaving, full, refuses }, i) => {
      const refusing = fleet.services.flatMap(({ targets }) => targets.map(({ task: { digest } }) => digest)).filter((digest) => digests.some((name, bit) => digest.includes(name) && (refuses & (1 << bit)) !== 0));
      return present ? [host(`h${i}`, { usable: usable && !lost && !leaving, lost, gpus, leaving, full, refused: new Set(refusing) })] : [];
    });
    fleet.all().forEach(({ id }, i) => {
      const phase = next[i];
      if (phase !== undefined) fleet.phases.set(id, phase);
      if (phase === "failed" && refused[i] === true) fleet.refused.add(id);
      if (i === remove) fleet.removed.add(id);
    });
    const before = fleet.assigned;
    look(fleet, fleet.plan(), before);
  }
}

const targetsOf = (fleet: Fleet): AssignTarget[] => fleet.services.flatMap(({ targets }) => targets);

describe("assign(), whatever has happened", () => {
  test("is idempotent: placing what was placed changes nothing and gives no number", () => {
    fc.assert(
      fc.property(history, (moves) => {
        live(moves, (fleet, first) => {
          const given = fleet.given;
          const again = assign(fleet.facts());
          expect(again.assigned).toEqual(first.assigned);
          expect(again.unplaced).toEqual(first.unplaced);
          expect(fleet.given).toBe(given);
        });
      }),
      { numRuns: 1000 },
    );
  });

  test("never plans more than the count of the current digest, and accounts for each one that is missing", () => {
    fc.assert(
      fc.property(history, (moves) => {
        live(moves, (fleet, { unplaced }) => {
          for (const { task: { service, digest }, count } of targetsOf(fleet)) {
            const going = new Set(fleet.hosts.filter((one) => one.leaving === true).flatMap(({ id }) => fleet.assigned.get(id) ?? []));
            const current = fleet.all().filter((one) => one.service === service && one.digest === digest && !going.has(one)).length;
            const missing = unplaced.filter((one) => one.service === service);
            expect(missing.length).toBeLessThanOrEqual(1);
            expect(current + (missing[0]?.count ?? 0)).toBe(count);
            if (missing[0] !== undefined) expect(missing[0].reason).not.toBe("");
          }
        });
      }),
      { numRuns: 500 },
    );
  });

  test("plans for enrolled hosts that are not lost and services that are wanted; no id twice, none that was removed", () => {
    fc.assert(
      fc.property(history, (moves) => {
        live(moves, (fleet, { assigned }) => {
          expect([...assigned.keys()].sort()).toEqual(fleet.hosts.map(({ id }) => id).sort());
          for (const { id, lost } of fleet.hosts) if (lost) expect(assigned.get(id)).toEqual([]);
          const all = fleet.all();
          expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
          for (const { id, service } of all) {
            expect(fleet.removed.has(id)).toBe(false);
            expect(fleet.services.some((one) => one.service === service)).toBe(true);
          }
        });
      }),
      { numRuns: 500 },
    );
  });

  test("no replica changes its host, and only usable hosts are given new ones", () => {
    fc.assert(
      fc.property(history, (moves) => {
        live(moves, (fleet, { assigned }, before) => {
          const was = new Map([...before].flatMap(([id, list]) => list.map((one) => [one.id, id] as const)));
          for (const [id, list] of assigned) {
            const usable = fleet.hosts.find((one) => one.id === id)?.usable;
            for (const one of list) {
              if (was.has(one.id)) expect(was.get(one.id)).toBe(id);
              else expect(usable).toBe(true);
            }
          }
        });
      }),
      { numRuns: 500 },
    );
  });

  test("what is new never takes a port or GPUs that are not free", () => {
    fc.assert(
      fc.property(history, (moves) => {
        live(moves, (fleet, { assigned }, before) => {
          const old = new Set([...before.values()].flat().map(({ id }) => id));
          for (const { id, gpus } of fleet.hosts) {
            const there = (assigned.get(id) ?? []).filter((one) => !isOver(fleet.phases.get(one.id) ?? "pending"));
            const takesPort = there.filter((one) => fleet.tasks.get(one.digest)?.fixedPort !== undefined);
            if (takesPort.some((one) => !old.has(one.id))) expect(takesPort.length).toBe(1);
            const takesGpus = there.filter((one) => (fleet.tasks.get(one.digest)?.gpus ?? 0) > 0);
            if (takesGpus.some((one) => !old.has(one.id))) expect(takesGpus.reduce((sum, one) => sum + (fleet.tasks.get(one.digest)?.gpus ?? 0), 0)).toBeLessThanOrEqual(gpus);
          }
        });
      }),
      { numRuns: 500 },
    );
  });

  test("an update takes a ready replica away only when a new one is ready or has got its place", () => {
    fc.assert(
      fc.property(history, (moves) => {
        live(moves, (fleet, { assigned }, before) => {
          const now = new Set([...assigned.values()].flat().map(({ id }) => id));
          for (const { task: { service, digest }, count } of targetsOf(fleet)) {
            if (count === 0) continue;
            const gone = [...before].flatMap(([id, list]) => (fleet.hosts.some((one) => one.id === id && !one.lost) ? list : []))
              .filter((one) => one.service === service && one.digest !== digest && fleet.phases.get(one.id) === "ready" && !fleet.removed.has(one.id) && !now.has(one.id));
            const current = fleet.all().filter((one) => one.service === service && one.digest === digest);
            if (gone.length > 0 && current.length === 0) {
              // only beyond the count may it go without anything in its place
              const kept = fleet.all().filter((one) => one.service === service).length;
              expect(kept).toBeGreaterThanOrEqual(count);
            }
          }
        });
      }),
      { numRuns: 500 },
    );
  });
});

test("assign() takes a ready replica off a leaving host only when as many as are wanted are ready or beyond the count", () => {
  fc.assert(
    fc.property(history, (moves) => {
      live(moves, (fleet, _, before) => {
        const now = new Set(fleet.all().map(({ id }) => id));
        for (const { task: { service, digest }, count } of targetsOf(fleet)) {
          const gone = fleet.hosts.filter((one) => one.leaving === true && !one.lost).flatMap(({ id }) => before.get(id) ?? [])
            .filter((one) => one.service === service && one.digest === digest && fleet.phases.get(one.id) === "ready" && !fleet.removed.has(one.id) && !now.has(one.id));
          const ready = fleet.all().filter((one) => one.service === service && fleet.phases.get(one.id) === "ready").length;
          if (gone.length > 0) expect(ready).toBeGreaterThanOrEqual(count);
        }
      });
    }),
    { numRuns: 500 },
  );
});

test.each(["stopped", "reclaimed"] as const)("assign() gives another, with a new number, for a replica that is %s", (phase) => {
  const fleet = new Fleet().on(host("a")).want(task("chat", "d1"), 1);
  fleet.plan();
  const [first] = fleet.assigned.get("a") ?? [];
  fleet.set(phase, first?.id ?? "").plan();
  expect(fleet.assigned.get("a")?.map(({ number }) => number)).toEqual([2]);
});
