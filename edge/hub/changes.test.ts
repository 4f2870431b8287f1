import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ReplicaState } from "../../schema/protocol.ts";
import type { Snapshot } from "../../schema/snapshot.ts";
import { snapshotsAfter, withChange } from "../changed.ts";
import { Changes } from "./changes.ts";
import { newRow, snapshot, type HostRow } from "./roster.ts";

const state = (host: string, number: number, running: number): ReplicaState => ({
  id: `chat.${host}.${number}`, service: "chat", number, version: 1, digest: "d", phase: running % 5 === 4 ? "stopped" : "ready", since: 1, restarts: 0, wasReady: true, inFlight: running, load: { running, queueDepth: 0 },
});

/** A Hub's roster, and the isolate that follows it. */
class Roster {
  readonly rows = new Map<string, HostRow>();
  readonly changes = new Changes();

  put(row: HostRow): void {
    this.changes.put(this.rows.get(row.id), row);
    this.rows.set(row.id, row);
  }

  remove(id: string): void {
    if (this.rows.delete(id)) this.changes.remove(id);
  }

  whole(now: number): Snapshot {
    return { ...snapshot(this.rows.values(), "local", now), version: { stamp: "s", number: this.changes.number } };
  }

  next(before: Snapshot, now: number): Snapshot {
    const since = before.version?.number ?? 0;
    const change = this.changes.since(since, this.rows);
    return change === undefined ? this.whole(now) : withChange(before, { region: "local", takenAt: now, since, version: { stamp: "s", number: this.changes.number }, ...change });
  }
}

const sorted = (one: Snapshot): unknown => ({ ...one, hosts: one.hosts.toSorted((a, b) => (a.id < b.id ? -1 : 1)), replicas: one.replicas.toSorted((a, b) => (a.id < b.id ? -1 : 1)) });

describe("changes of a roster", () => {
  test("put on what was known give what is, whatever happened in between", () => {
    const id = fc.constantFrom("a", "b", "c", "d");
    const step = fc.oneof(
      fc.record({ do: fc.constant("beat" as const), id, running: fc.nat(9), count: fc.nat(3) }),
      fc.record({ do: fc.constant("heard" as const), id }),
      fc.record({ do: fc.constant("remove" as const), id }),
      fc.record({ do: fc.constant("ask" as const), id }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const roster = new Roster();
        let seen = roster.whole(0);
        for (const [now, one] of steps.entries()) {
          const row = roster.rows.get(one.id);
          if (one.do === "beat") roster.put({ ...(row ?? newRow(one.id, 1, now)), heardAt: now, replicas: Array.from({ length: one.count }, (_, i) => state(one.id, i, one.running)) });
          else if (one.do === "heard" && row !== undefined) roster.put({ ...row, heardAt: now });
          else if (one.do === "remove") roster.remove(one.id);
          else if (one.do === "ask") {
            seen = roster.next(seen, now);
            expect(sorted(seen)).toEqual(sorted(roster.whole(now)));
          }
        }
      }),
    );
  });

  test("a host that only was heard is told without its replicas, and one of which nothing is new is not told", () => {
    const roster = new Roster();
    for (const host of ["a", "b"]) roster.put({ ...newRow(host, 1, 1), replicas: [state(host, 1, 1)] });
    const { number } = roster.changes;
    roster.put({ ...(roster.rows.get("a") as HostRow), heardAt: 9 });
    expect(roster.changes.since(number, roster.rows)).toMatchObject({ hosts: [{ id: "a", heardAt: 9 }], replicas: [], gone: [] });
    expect(roster.changes.since(roster.changes.number, roster.rows)).toEqual({ hosts: [], replicas: [], gone: [] });
  });

  test("one that is not of the version at hand is left alone: the next question brings what is missing", () => {
    const roster = new Roster();
    roster.put(newRow("a", 1, 1));
    const old = roster.whole(1);
    const change = { region: "local" as const, takenAt: 2, since: old.version?.number ?? 0, version: { stamp: "s", number: 9 }, hosts: [], replicas: [], gone: ["a"] };
    expect(withChange(old, change).hosts).toEqual([]);
    expect(withChange(old, { ...change, since: change.since - 1 })).toBe(old);
    expect(withChange(old, { ...change, version: { stamp: "another waking", number: 9 } })).toBe(old);
  });

  test("a version that is too old, or of the future, needs the whole", () => {
    const roster = new Roster();
    for (let i = 0; i <= 1_025; i++) {
      roster.put(newRow(`h${i}`, 1, 1));
      roster.remove(`h${i}`);
    }
    expect(roster.changes.since(0, roster.rows)).toBeUndefined();
    expect(roster.changes.since(roster.changes.number + 1, roster.rows)).toBeUndefined();
    expect(roster.changes.since(roster.changes.number, roster.rows)).toBeDefined();
  });

  test("regions that are told whole take the place of what was known of them", () => {
    const [here, there] = [snapshot([newRow("a", 1, 1)], "local", 1), snapshot([newRow("b", 1, 1)], "weur", 1)];
    const known = [{ ...here, version: { stamp: "s", number: 1 } }, there];
    const change = { region: "local" as const, takenAt: 5, since: 1, version: { stamp: "s", number: 2 }, hosts: [], replicas: [], gone: [] };
    const newer = snapshot([newRow("c", 1, 1)], "weur", 5);
    expect(snapshotsAfter(known, { bundleVersion: 1, snapshots: [newer], changes: [change] }).map(({ region, takenAt, hosts }) => [region, takenAt, hosts.map(({ id }) => id)])).toEqual([["local", 5, ["a"]], ["weur", 5, ["c"]]]);
    expect(snapshotsAfter(known, { bundleVersion: 1, snapshots: [newer] })).toEqual([newer]);
  });
});
