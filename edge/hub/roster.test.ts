import { describe, expect, test } from "vitest";
import type { FleetHost } from "../../schema/bundle.ts";
import { heartbeatSchema, linkTimes, type Heartbeat, type ReplicaState } from "../../schema/protocol.ts";
import { isOver, phases } from "../../schema/replica.ts";
import { heartbeat, isLost, newRow, replanSpacingMs, report, returned, snapshot, status, substance, type HostRow, type StatusFacts } from "./roster.ts";

const now = 1_000_000;
const replica = (number: number, fields: Partial<ReplicaState> = {}): ReplicaState => ({
  id: `chat.local.${number}`, service: "chat", number, version: 1, digest: "d", phase: "ready", since: 5, restarts: 0, wasReady: true, inFlight: 0, ...fields,
});
const beat = (fields: Partial<Heartbeat> = {}): Heartbeat => ({ type: "heartbeat", epoch: 3, generation: 2, relays: [0, 1], draining: false, replicas: [replica(1)], ...fields });
const row = (fields: Partial<Heartbeat> = {}): HostRow => heartbeat(newRow("h1", 3, now), beat(fields), now);
const host = (id: string, fields: Partial<FleetHost> = {}): FleetHost => ({ id, name: `name of ${id}`, region: "local", publicKey: "", revoked: false, ...fields });

describe("rows", () => {
  test("a new row is connected and knows nothing else", () => {
    expect(newRow("h1", 3, now)).toEqual({ id: "h1", epoch: 3, linkUp: true, heardAt: now, relays: [], draining: false, generation: 0, gpus: 0, replicas: [] });
  });

  test("a heartbeat replaces everything the agent says, and keeps the GPUs when it does not say them", () => {
    const first = heartbeat(newRow("h1", 3, now), beat({ facts: { gpus: 4, cpus: 1, memoryBytes: 1 } }), now + 1);
    expect(first).toEqual({ id: "h1", epoch: 3, linkUp: true, heardAt: now + 1, relays: [0, 1], draining: false, generation: 2, gpus: 4, saidIn: 3, replicas: [replica(1)], launched: new Map([["chat.local.1", now + 1]]) });
    expect(heartbeat(first, beat({ replicas: [], relays: [1], draining: true, generation: 3 }), now + 2)).toEqual({ ...first, heardAt: now + 2, relays: [1], draining: true, generation: 3, replicas: [], launched: new Map() });
  });

  test("a host is of the kind that it said last, and of none when it said nothing of it", () => {
    const facts = { gpus: 4, cpus: 1, memoryBytes: 1 };
    const first = heartbeat(newRow("h1", 3, now), beat({ facts: { ...facts, zone: "us-east-1a", spot: true, accelerator: "L4", priceMicroUsd: 300_000, warm: ["d"] } }), now);
    expect(first.kind).toEqual({ zone: "us-east-1a", spot: true, accelerator: "L4", priceMicroUsd: 300_000, warm: ["d"] });
    // of which routing weighs the accelerator
    expect(snapshot([first], "local", now).hosts).toEqual([{ id: "h1", relays: first.relays, heardAt: now, linkUp: true, draining: false, accelerator: "L4" }]);
    expect(heartbeat(first, beat(), now).kind).toEqual(first.kind);
    expect(heartbeat(first, beat({ facts: { ...facts, spot: false } }), now).kind).toEqual({ spot: false });
    expect(heartbeat(first, beat({ facts }), now).kind).toBeUndefined();
  });

  test.each([{ zone: "a zone" }, { spot: "yes" }, { accelerator: "" }, { priceMicroUsd: -1 }, { warm: Array.from({ length: 33 }, (_, i) => String(i)) }])("a kind that cannot be understood is not known, and costs no heartbeat: %j", (wrong) => {
    const parsed = heartbeatSchema.parse(beat({ facts: { gpus: 4, cpus: 1, memoryBytes: 1, ...(wrong as object) } }));
    expect(parsed.facts).toEqual({ gpus: 4, cpus: 1, memoryBytes: 1 });
  });

  test("a report changes one replica, known or new, and leaves the others", () => {
    const before = row({ replicas: [replica(1), replica(2)] });
    const after = report(before, replica(2, { phase: "unhealthy" }), now + 5);
    expect(after.replicas).toEqual([replica(1), replica(2, { phase: "unhealthy" })]);
    expect(after.heardAt).toBe(now + 5);
    expect(report(before, replica(3), now).replicas.map(({ number }) => number)).toEqual([1, 2, 3]);
    expect(before.replicas).toEqual([replica(1), replica(2)]);
  });
});

describe("when a replica was launched", () => {
  const launchedAt = (one: HostRow) => Object.fromEntries(status({ rows: new Map([["h1", one]]), hosts: [host("h1")], generations: new Map(), region: "local", bundleVersion: 1, unplaced: [], awakeSince: 0 }, now).replicas.map(({ number, launchedAt: at }) => [number, at]));

  test("is when its Hub first heard of it, whatever becomes of it, and goes with it", () => {
    const first = heartbeat(newRow("h1", 3, now), beat(), now + 1_000);
    const second = report(first, replica(2, { phase: "starting" }), now + 2_000);
    const later = heartbeat(second, beat({ replicas: [replica(1, { phase: "unhealthy" }), replica(2)] }), now + 9_000);
    expect(launchedAt(later)).toEqual({ 1: now + 1_000, 2: now + 2_000 });
    const again = heartbeat(heartbeat(later, beat({ replicas: [replica(2)] }), now + 10_000), beat({ replicas: [replica(1), replica(2)] }), now + 11_000);
    expect(launchedAt(again)).toEqual({ 1: now + 11_000, 2: now + 2_000 });
  });

  test("is kept as long as the list is the same, and costs it nothing", () => {
    const first = heartbeat(newRow("h1", 3, now), beat(), now);
    expect(heartbeat(first, beat({ replicas: [replica(1, { inFlight: 9 })] }), now + 5_000).launched).toBe(first.launched);
  });

  test("is not known of a row that was kept before", () => {
    expect(launchedAt({ ...newRow("h1", 3, now), replicas: [replica(1)] })).toEqual({ 1: undefined });
  });
});

describe("substance()", () => {
  test.each<[string, Partial<Heartbeat>]>([
    ["a load", { replicas: [replica(1, { load: { running: 5, queueDepth: 1 } })] }],
    ["requests in flight", { replicas: [replica(1, { inFlight: 7 })] }],
    ["the time of a phase", { replicas: [replica(1, { since: 99 })] }],
  ])("is not %s", (_, fields) => {
    expect(substance(row(fields))).toBe(substance(row()));
  });

  test("is not when the host was heard", () => {
    expect(substance({ ...row(), heardAt: now + 1 })).toBe(substance(row()));
  });

  test.each<[string, Partial<HostRow>]>([
    ["a phase", { replicas: [replica(1, { phase: "unhealthy" })] }],
    ["a reason", { replicas: [replica(1, { reason: "out of memory" })] }],
    ["a restart", { replicas: [replica(1, { restarts: 1 })] }],
    ["another replica", { replicas: [replica(1), replica(2)] }],
    ["a replica less", { replicas: [] }],
    ["a relay", { relays: [0] }],
    ["draining", { draining: true }],
    ["being taken back", { reclaim: { source: "aws", reason: "spot" } }],
    ["the generation", { generation: 9 }],
    ["the link", { linkUp: false }],
    ["the session", { epoch: 4 }],
    ["GPUs", { gpus: 1 }],
    ["the kind of host", { kind: { spot: true } }],
  ])("is %s", (_, fields) => {
    expect(substance({ ...row(), ...fields })).not.toBe(substance(row()));
  });
});

test("a small fleet is placed at each change, a large one once a second at most", () => {
  expect([0, 50, 51, 1_000, 10_000].map(replanSpacingMs)).toEqual([0, 0, 51, 1_000, 1_000]);
});

describe("a host that comes back", () => {
  const lost: HostRow = { ...row(), linkUp: false };

  test.each<[string, HostRow, boolean, number | undefined]>([
    ["after its link was lost", lost, false, now + 5],
    ["on a new connection, before the old one was seen to end", row(), false, undefined],
    ["to a Hub that was away itself", lost, true, undefined],
  ])("%s", (_, known, unheard, backSince) => {
    const back = returned(known, 4, now + 5, unheard);
    expect(back).toMatchObject({ epoch: 4, linkUp: true, heardAt: now + 5, relays: [], replicas: known.replicas });
    expect(back.backSince).toBe(backSince);
  });

});

describe("isLost()", () => {
  const awakeSince = now;

  test("from the first millisecond beyond the lease", () => {
    const heard = { ...row(), heardAt: now + 1_000 };
    expect(isLost(heard, heard.heardAt + linkTimes.leaseMs, awakeSince)).toBe(false);
    expect(isLost(heard, heard.heardAt + linkTimes.leaseMs + 1, awakeSince)).toBe(true);
  });

  test("nobody is lost before a Hub that woke has had the time to hear anyone", () => {
    for (const known of [undefined, { ...row(), heardAt: 0 }]) {
      expect(isLost(known, awakeSince + linkTimes.leaseMs, awakeSince)).toBe(false);
      expect(isLost(known, awakeSince + linkTimes.leaseMs + 1, awakeSince)).toBe(true);
    }
  });

  test("a Hub whose clock was set back since it woke goes by what it has heard since", () => {
    const [heard, hourLater] = [{ ...row(), heardAt: now }, now + 3_600_000];
    expect(isLost(heard, now + linkTimes.leaseMs, hourLater)).toBe(false);
    expect(isLost(heard, now + linkTimes.leaseMs + 1, hourLater)).toBe(true);
  });
});

describe("snapshot()", () => {
  test("a Hub that woke a moment ago tells of hosts that have not come back yet as they were", () => {
    const [seen, unheard] = [row(), { ...row(), id: "h2", linkUp: false, heardAt: now - 60_000 }];
    const hosts = (known?: { hosts: ReadonlySet<string>; since: number }) => snapshot([seen, unheard], "local", now + 7, known).hosts.map(({ id, linkUp, heardAt }) => [id, linkUp, heardAt]);
    expect(hosts({ hosts: new Set(["h2"]), since: now })).toEqual([["h1", true, now], ["h2", true, now]]);
    expect(hosts()).toEqual([["h1", true, now], ["h2", false, now - 60_000]]);
  });

  test("has a host's gate with its key, and since when it is back, where there are such", () => {
    const gate = { ...row({ direct: { url: "https://gpu7.example.com" } }), backSince: now - 5 };
    expect(snapshot([{ ...gate, gateKey: "k" }], "local", now).hosts[0]).toMatchObject({ direct: { url: "https://gpu7.example.com", key: "k" }, backSince: now - 5 });
    // no key, no way in
    expect(snapshot([gate], "local", now).hosts[0]).not.toHaveProperty("direct");
  });

  test("is dated, and has every host and every replica that is not over", () => {
    const replicas = phases.map((phase, i) => replica(i + 1, { phase }));
    const copy = snapshot([row({ replicas }), newRow("h2", 1, now - 5)], "local", now + 7);
    expect(copy.takenAt).toBe(now + 7);
    expect(copy.hosts).toEqual([
      { id: "h1", relays: [0, 1], heardAt: now, linkUp: true, draining: false },
      { id: "h2", relays: [], heardAt: now - 5, linkUp: true, draining: false },
    ]);
    expect(copy.replicas.map(({ phase }) => phase)).toEqual(phases.filter((phase) => !isOver(phase)));
    expect(copy.replicas.every((one) => one.host === "h1")).toBe(true);
  });

  test("an unknown load stays unknown", () => {
    const { replicas } = snapshot([row({ replicas: [replica(1), replica(2, { load: { running: 0, queueDepth: 0 } })] })], "local", now);
    expect(Object.hasOwn(replicas[0] ?? {}, "load")).toBe(false);
    expect(replicas[1]?.load).toEqual({ running: 0, queueDepth: 0 });
  });
});

describe("status()", () => {
  const facts = (fields: Partial<StatusFacts> = {}): StatusFacts => ({
    rows: new Map([["h1", row()]]), hosts: [host("h1"), host("h2")], generations: new Map([["h1", 4]]), region: "local", bundleVersion: 8, unplaced: [], awakeSince: 0, ...fields,
  });

  test("shows every host that is enrolled here, heard or not", () => {
    const { hosts, bundleVersion, takenAt } = status(facts({ hosts: [host("h1"), host("h2"), host("h3", { region: "weur" }), host("h4", { revoked: true })] }), now);
    expect({ bundleVersion, takenAt }).toEqual({ bundleVersion: 8, takenAt: now });
    expect(hosts).toEqual([
      { id: "h1", name: "name of h1", region: "local", relays: [0, 1], heardAt: now, linkUp: true, draining: false, generation: 4, appliedGeneration: 2 },
      { id: "h2", name: "name of h2", region: "local", relays: [], heardAt: 0, linkUp: false, draining: false, generation: 0, appliedGeneration: 0 },
    ]);
  });

  test("shows a failed replica with its reason, and no stopped one", () => {
    const rows = new Map([["h1", row({ replicas: [replica(1, { phase: "failed", reason: "setup exited with 1" }), replica(2, { phase: "stopped" })] })]]);
    expect(status(facts({ rows }), now).replicas).toMatchObject([{ id: "chat.local.1", phase: "failed", reason: "setup exited with 1", host: "h1", hostName: "name of h1", region: "local" }]);
  });

  test("a silent host is the reason that matters, then a link that is down", () => {
    const rows = (fields: Partial<HostRow>) => new Map([["h1", { ...row({ replicas: [replica(1, { reason: "warming up" })] }), ...fields }]]);
    const why = (fields: Partial<HostRow>, at: number) => status(facts({ rows: rows(fields) }), at).replicas[0]?.reason;
    expect(why({}, now)).toBe("warming up");
    expect(why({ linkUp: false }, now)).toBe("its host's link is down");
    expect(why({ linkUp: false }, now + linkTimes.leaseMs + 1)).toBe("its host is silent beyond its lease");
    const isUp = (at: number): boolean | undefined => status(facts(), at).hosts[0]?.linkUp;
    expect([isUp(now + linkTimes.leaseMs), isUp(now + linkTimes.leaseMs + 1)]).toEqual([true, false]);
  });

  test.each<[string, Partial<HostRow>, Partial<FleetHost>, string | undefined]>([
    ["stays", {}, {}, undefined],
    ["is taken back", { reclaim: { source: "aws", at: Date.UTC(2026, 10, 21, 9, 5, 7), reason: "AWS stops it" }, draining: true }, { draining: true }, "AWS stops it at 09:05:07 UTC"],
    ["may be taken back", { reclaim: { source: "aws", reason: "AWS may take it" } }, {}, "AWS may take it"],
    ["is stopping", { draining: true }, {}, "its agent is stopping"],
    ["is drained", {}, { draining: true }, "its operator drains it"],
  ])("a host that %s says so, and so does what serves there", (_, fields, enrolled, reason) => {
    const { hosts, replicas } = status(facts({ rows: new Map([["h1", { ...row({ replicas: [replica(1), replica(2, { phase: "unhealthy", reason: "probe failed" })] }), ...fields }]]), hosts: [host("h1", enrolled)] }), now);
    expect(hosts[0]).toMatchObject({ draining: reason !== undefined });
    expect(hosts[0]?.reason).toBe(reason);
    expect(replicas.map((one) => one.reason)).toEqual([reason, "probe failed"]);
  });

  test("ready is what a host has said since it came back: what is known from before it went is not believed until then", () => {
    const shown = (known: HostRow) => status(facts({ rows: new Map([["h1", known]]) }), now).replicas.map(({ phase, reason }) => ({ phase, reason }));
    const back = { ...row(), epoch: 4 };
    expect(shown(row())).toEqual([{ phase: "ready", reason: undefined }]);
    expect(shown(back)).toEqual([{ phase: "unhealthy", reason: "its host is back and has not said yet what it runs" }]);
    expect(shown(heartbeat(back, beat({ epoch: 4 }), now))).toEqual([{ phase: "ready", reason: undefined }]);
    expect(shown({ ...row({ replicas: [replica(1, { phase: "starting" })] }), epoch: 4 })).toMatchObject([{ phase: "starting" }]);
  });

  test("leaves out replicas of hosts that are revoked or enrolled elsewhere", () => {
    expect(status(facts({ hosts: [host("h1", { revoked: true })] }), now)).toMatchObject({ hosts: [], replicas: [] });
    expect(status(facts({ hosts: [host("h1", { region: "weur" })] }), now)).toMatchObject({ hosts: [], replicas: [] });
  });
});
