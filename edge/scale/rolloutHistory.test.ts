import * as fc from "fast-check";
import { expect, test } from "vitest";
import { rolloutModes, rolloutPolicySchema } from "../../schema/policy.ts";
import { isOver, phases, type Phase } from "../../schema/replica.ts";
import type { ScaleReplica, VersionSeen } from "../../schema/scale.ts";
import { digestBoundsMs } from "../../schema/telemetry.ts";
import { rollout, type Rollout, type RolloutFacts, type RolloutState } from "./rollout.ts";

// ——— any policy, any history ———

interface Move {
  /** Publish: a version that runs this digest. */
  publish: number | undefined;
  mode: (typeof rolloutModes)[number];
  rollback: boolean;
  desired: number;
  /** What becomes of the replicas, in turn. */
  phases: Phase[];
  failures: number;
  answers: number;
  ms: number;
  partial: boolean;
}

const digests = ["a", "b", "c"];
const move: fc.Arbitrary<Move> = fc.record({
  publish: fc.option(fc.nat(digests.length - 1), { nil: undefined, freq: 3 }),
  mode: fc.constantFrom(...rolloutModes),
  rollback: fc.constantFrom(true, true, false),
  desired: fc.constantFrom(0, 1, 2, 3, 5, 8),
  phases: fc.array(fc.constantFrom<Phase>(...phases, "ready", "ready", "failed"), { minLength: 1, maxLength: 8 }),
  failures: fc.nat(30),
  answers: fc.nat(60),
  ms: fc.constantFrom(0, 1_000, 30_000, 120_000, 600_000),
  partial: fc.constantFrom(false, false, false, true),
});
const history = fc.array(move, { minLength: 1, maxLength: 12 });

interface Lived {
  facts: RolloutFacts;
  before: RolloutState | undefined;
  at: Rollout;
  policy: ReturnType<typeof rolloutPolicySchema.parse>;
  now: number;
}

/** Let a service live through its moves, as control, Hubs and agents make it; look at it after each. */
function live(moves: readonly Move[], look: (lived: Lived) => void): void {
  let state: RolloutState | undefined;
  let current = { version: 1, digest: "a" };
  let previous: RolloutFacts["previous"];
  let replicas: ScaleReplica[] = [];
  let seen: VersionSeen[] = [];
  let done = true;
  let number = 0;
  let now = 1_000_000;
  let policy = rolloutPolicySchema.parse({});
  for (const one of moves) {
    if (one.publish !== undefined) {
      policy = rolloutPolicySchema.parse({ mode: one.mode, rollback: one.rollback });
      // control keeps the last one that was whole
      if (done) previous = current;
      current = { version: current.version + 1, digest: digests[one.publish] as string };
    }
    now += one.ms;
    replicas = replicas.map((replica, i) => {
      const phase = one.phases[i % one.phases.length] as Phase;
      return { ...replica, phase, wasReady: replica.wasReady || phase === "ready" };
    });
    for (const [version, failures] of [[current.version, one.failures], ...(previous === undefined || previous.version === current.version ? [] : [[previous.version, 0] as const])] as const) {
      const known = seen.find((row) => row.version === version) ?? { version, answers: 0, failures: 0, ttft: digestBoundsMs.ttft.map(() => 0) };
      seen = [...seen.filter((row) => row.version !== version), { ...known, answers: known.answers + one.answers, failures: known.failures + failures }];
    }
    const facts: RolloutFacts = { current, previous, desired: one.desired, replicas, seen, partial: one.partial };
    const before = state;
    const at = rollout(policy, facts, before, now);
    look({ facts, before, at, policy, now });
    state = JSON.parse(JSON.stringify(at.state)) as RolloutState;
    done = at.status === undefined || (at.status.state === "done" && at.shares === undefined);
    const wanted = at.wanted;
    replicas = wanted.flatMap(({ version, digest, count }) => {
      const own = replicas.filter((replica) => replica.digest === digest && (!isOver(replica.phase) || replica.phase === "failed")).slice(0, count).map((replica) => ({ ...replica, version }));
      while (own.length < count) own.push({ id: `chat.local.${++number}`, number, version, digest, phase: "pending", since: 0, region: "local", host: "h", inFlight: 0, wasReady: false, leaving: false, reachable: true });
      return own;
    });
  }
}

const told = (at: Rollout): unknown => ({ ...at, action: undefined });

test("rollout() asked again answers the same, tells nothing twice, and its state is JSON", () => {
  fc.assert(
    fc.property(history, (moves) => {
      live(moves, ({ facts, at, policy, now }) => {
        const again = rollout(policy, facts, JSON.parse(JSON.stringify(at.state)) as RolloutState, now);
        expect(told(again)).toEqual(told(at));
        expect(again.action).toBeUndefined();
      });
    }),
    { numRuns: 500 },
  );
});

test("rollout() never wants less than is desired of what may serve, but of a version that cannot start and has none before it", () => {
  fc.assert(
    fc.property(history, (moves) => {
      live(moves, ({ facts, at }) => {
        const sum = at.wanted.reduce((all, { count }) => all + count, 0);
        if (at.status?.state === "stuck" && at.wanted.length === 1) return;
        expect(sum).toBeGreaterThanOrEqual(facts.desired);
        expect(at.wanted.every(({ count }) => Number.isInteger(count) && count >= 0)).toBe(true);
        expect(sum).toBeLessThanOrEqual(2 * facts.desired + (facts.desired === 0 ? 0 : 1));
      });
    }),
    { numRuns: 500 },
  );
});

test("rollout() shares are 1 in sum, go to what is wanted, and give a version that was never ready nothing", () => {
  fc.assert(
    fc.property(history, (moves) => {
      const ready = new Set<string>();
      live(moves, ({ facts, at }) => {
        for (const { digest, phase } of facts.replicas) if (phase === "ready") ready.add(digest);
        if (at.shares === undefined) return;
        expect(Object.values(at.shares).reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 5);
        expect(at.status?.shares).toEqual(at.shares);
        for (const [version, share] of Object.entries(at.shares)) {
          expect(share).toBeGreaterThan(0);
          const wanted = at.wanted.find((one) => one.version === Number(version));
          expect(wanted).toBeDefined();
          if (wanted?.version === facts.current.version && facts.current.digest !== facts.previous?.digest) expect([...ready]).toContain(wanted.digest);
        }
      });
    }),
    { numRuns: 500 },
  );
});

test("rollout() wants nothing of a version that was rolled back until another is published", () => {
  fc.assert(
    fc.property(history, (moves) => {
      const refused = new Set<number>();
      live(moves, ({ facts, at }) => {
        if (refused.has(facts.current.version)) {
          expect(at.status).toMatchObject({ state: "rolled_back", version: facts.current.version });
          expect(at.wanted.map(({ digest }) => digest)).not.toContain(facts.current.digest);
        }
        if (at.status?.state === "rolled_back") refused.add(at.status.version);
      });
    }),
    { numRuns: 500 },
  );
});

test("rollout() takes no step and undoes nothing that never started while a region is not heard", () => {
  fc.assert(
    fc.property(history, (moves) => {
      live(moves, ({ facts, before, at }) => {
        if (facts.partial !== true || before?.coming === undefined || before.coming.digest !== facts.current.digest || before.coming.mode !== at.state.coming?.mode) return;
        expect(at.state.coming.step).toBe(before.coming.step);
      });
    }),
    { numRuns: 300 },
  );
});

test("rollout() of a version whose replicas all get ready and answer well comes to its end, by any mode", () => {
  fc.assert(
    fc.property(fc.constantFrom(...rolloutModes), fc.integer({ min: 1, max: 12 }), (mode, desired) => {
      const good: Move = { publish: undefined, mode, rollback: true, desired, phases: ["ready"], failures: 0, answers: 100, ms: 60_000, partial: false };
      let last: Rollout | undefined;
      live([good, good, { ...good, publish: 1 }, ...Array.from({ length: 12 }, () => good)], ({ at }) => void (last = at));
      expect(last?.status).toMatchObject({ state: "done", version: 2 });
      if (mode === "ab") expect(last?.shares).toEqual({ 1: 0.5, 2: 0.5 });
      else expect(last?.wanted).toEqual([{ version: 2, digest: "b", count: desired }]);
    }),
    { numRuns: 60 },
  );
});
