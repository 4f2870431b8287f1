import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, describe, expect, test, vi } from "vitest";
import { bundleBytesMax } from "../../schema/bundle.ts";
import { closeCodes, type AssignedReplica } from "../../schema/protocol.ts";
import { bundle, fleetService, newHost, publish, replicaState, routeService, soon, testKey, TestLink, world, type TestHost } from "../../test/worker/world.ts";

let version = Date.now();
const next = (): number => ++version;
const hub = (): ReturnType<typeof world.HUB.getByName> => world.HUB.getByName("local");

afterEach(async () => {
  vi.useRealTimers();
  await publish(bundle(next(), {}));
});

describe("Hub: links", () => {
  test("an agent that proves its key is welcomed and told what should run", async () => {
    const host = await newHost("host_a");
    expect((await publish(bundle(next(), { hosts: [host], fleet: [fleetService("chat", 2)] }))).status).toBe(200);
    const link = await TestLink.join(host);
    expect(link.welcome?.relays).toHaveLength(2);
    const { replicas, tasks } = await link.assigned(2);
    expect(replicas.map(({ service }) => service)).toEqual(["chat", "chat"]);
    expect(tasks).toHaveLength(1);
  });

  test.each([[1, 1], [3, 3], [16, 4]])("an agent that asks for %i data links may open %i", async (relays, given) => {
    const host = await newHost(`host_links_${relays}`);
    await publish(bundle(next(), { hosts: [host] }));
    const link = await TestLink.join(host, { relays });
    expect(link.welcome?.relays.map(({ index }) => index)).toEqual(Array.from({ length: given }, (_, i) => i));
  });

  test("a host's gate is told to isolates with the key that the host was told, another one for each session", async () => {
    const host = await newHost("host_gate");
    await publish(bundle(next(), { hosts: [host] }));
    const keys: (string | undefined)[] = [];
    for (let session = 0; session < 2; session++) {
      const link = await TestLink.join(host);
      link.beat([], { direct: { url: "https://gpu7.example.com" } });
      const { direct } = await soon("the gate", 20_000, async () => (await hub().snapshot()).hosts.find(({ id, direct: gate }) => id === host.id && gate?.key === link.welcome?.gate?.key)) ?? {};
      expect(direct).toEqual({ url: "https://gpu7.example.com", key: link.welcome?.gate?.key });
      keys.push(direct?.key);
      link.beat([]);
      await soon("the gate's end", 20_000, async () => (await hub().snapshot()).hosts.find(({ id, direct: gate }) => id === host.id && gate === undefined));
    }
    expect(new Set(keys).size).toBe(2);
    expect(JSON.stringify(await hub().status())).not.toContain(keys[1]);
  });

  test.each([
    ["a wrong signature", { signature: btoa("x".repeat(64)) }],
    ["junk for a signature", { signature: "%%%" }],
  ])("%s is refused with 4401", async (_, change) => {
    const host = await newHost("host_b");
    await publish(bundle(next(), { hosts: [host] }));
    const link = await TestLink.open("local");
    await link.hello(host, change);
    expect((await soon("a close", 20_000, () => link.closed)).code).toBe(closeCodes.unauthorized);
  });

  test("an unknown host is refused with 4401", async () => {
    const link = await TestLink.open("local");
    await link.hello(await newHost("host_nobody"));
    expect((await soon("a close", 20_000, () => link.closed)).code).toBe(closeCodes.unauthorized);
  });

  test.each([
    ["text that is not JSON", "nonsense"],
    ["an unknown message before hello", '{"type":"heartbeat"}'],
    ["more than 4 KiB before hello", JSON.stringify({ type: "hello", pad: "x".repeat(5_000) })],
  ])("%s closes the link with 1008", async (_, message) => {
    const link = await TestLink.open("local");
    await link.next("challenge");
    link.say(message);
    expect((await soon("a close", 20_000, () => link.closed)).code).toBe(closeCodes.policy);
  });

  test("an unknown message after hello is ignored, a malformed known one closes", async () => {
    const host = await newHost("host_c");
    await publish(bundle(next(), { hosts: [host] }));
    const link = await TestLink.join(host);
    link.say('{"type":"from-the-future","field":1}');
    link.beat([]);
    await soon("the heartbeat's trace", 20_000, async () => ((await hub().snapshot()).hosts.find(({ id }) => id === host.id)?.relays.length === 1 ? true : undefined));
    expect(link.closed).toBeUndefined();
    link.say('{"type":"heartbeat","epoch":"one"}');
    expect((await soon("a close", 20_000, () => link.closed)).code).toBe(closeCodes.policy);
  });

  test("the newest connection of a host wins", async () => {
    const host = await newHost("host_d");
    await publish(bundle(next(), { hosts: [host] }));
    const first = await TestLink.join(host);
    const second = await TestLink.join(host);
    expect((await soon("a close", 20_000, () => first.closed)).code).toBe(closeCodes.superseded);
    expect(second.welcome?.epoch).toBeGreaterThan(first.welcome?.epoch ?? 0);
    expect(second.closed).toBeUndefined();
  });

  test("a revoked host's link is closed at once", async () => {
    const host = await newHost("host_e");
    await publish(bundle(next(), { hosts: [host] }));
    const link = await TestLink.join(host);
    await publish(bundle(next(), { hosts: [] }));
    expect((await soon("a close", 20_000, () => link.closed)).code).toBe(closeCodes.unauthorized);
    expect((await hub().snapshot()).hosts.map(({ id }) => id)).not.toContain(host.id);
  });
});

describe("Hub: roster", () => {
  test("a closed link takes its replicas out of routing at once and keeps their places", async () => {
    const host = await newHost("host_f");
    await publish(bundle(next(), { hosts: [host], fleet: [fleetService("chat", 1)] }));
    const link = await TestLink.join(host);
    const { replicas, generation } = await link.assigned(1);
    link.beat(replicas.map((one) => replicaState(one)), { generation });
    await soon("a ready replica", 20_000, async () => (await hub().snapshot()).replicas.find(({ phase }) => phase === "ready"));
    link.socket.close(1000, "gone");
    const row = await soon("the link's end", 20_000, async () => (await hub().snapshot()).hosts.find(({ id, linkUp }) => id === host.id && !linkUp));
    expect(row.relays).toEqual([]);
    const again = await TestLink.join(host);
    expect((await again.assigned(1)).replicas).toEqual(replicas);
  });

  test("sockets, roster and assignments survive eviction", async () => {
    const host = await newHost("host_g");
    await publish(bundle(next(), { hosts: [host], fleet: [fleetService("chat", 1)] }));
    const link = await TestLink.join(host);
    const { replicas, generation } = await link.assigned(1);
    link.beat(replicas.map((one) => replicaState(one)), { generation });
    await soon("a ready replica", 20_000, async () => (await hub().snapshot()).replicas.find(({ phase }) => phase === "ready"));
    const launched = async () => (await hub().status()).replicas.map(({ launchedAt }) => launchedAt);
    const before = await launched();
    expect(before).toEqual([expect.any(Number)]);
    await evictDurableObject(hub(), { webSockets: "hibernate" });
    const after = await hub().snapshot();
    expect(await launched()).toEqual(before);
    expect(after.hosts.find(({ id }) => id === host.id)).toMatchObject({ linkUp: true, relays: [0] });
    expect(after.replicas.find(({ host: on }) => on === host.id)?.phase).toBe("ready");
    // the same socket still speaks
    link.beat(replicas.map((one) => replicaState(one, { phase: "unhealthy", reason: "probe failed" })), { generation });
    await soon("the change", 20_000, async () => (await hub().snapshot()).replicas.find(({ phase }) => phase === "unhealthy"));
    expect(link.closed).toBeUndefined();
  });

  test("a host silent beyond its lease loses its replicas to another", async () => {
    const [a, b] = [await newHost("host_h"), await newHost("host_i")];
    await publish(bundle(next(), { hosts: [a, b], fleet: [fleetService("chat", 1)] }));
    const first = await TestLink.join(a);
    const { replicas } = await first.assigned(1);
    first.socket.close(1000, "gone");
    await soon("the link's end", 20_000, async () => (await hub().snapshot()).hosts.find(({ id, linkUp }) => id === a.id && !linkUp));
    const second = await TestLink.join(b);
    expect((await second.next("assign")).replicas).toEqual([]);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 16_000 });
    expect(await runDurableObjectAlarm(hub())).toBe(true);
    second.beat([]);
    const moved = await second.assigned(1);
    expect(moved.replicas[0]?.number).toBeGreaterThan(replicas[0]?.number ?? 0);
  });
});

describe("Hub: hosts that go", () => {
  /** Hosts that are connected, each with one ready replica of the service. */
  async function fleet(names: string[]): Promise<{ hosts: TestHost[]; links: TestLink[]; held: AssignedReplica[][] }> {
    const hosts = await Promise.all(names.map((name) => newHost(name)));
    await publish(bundle(next(), { hosts }));
    const links = await Promise.all(hosts.map((host) => TestLink.join(host)));
    await publish(bundle(next(), { hosts, fleet: [fleetService("chat", names.length)] }));
    const held = await Promise.all(links.map(async (link) => {
      const { replicas, generation } = await link.assigned(1);
      link.beat(replicas.map((one) => replicaState(one)), { generation });
      return replicas;
    }));
    await soon("ready replicas", 20_000, async () => (await hub().snapshot()).replicas.filter(({ phase }) => phase === "ready").length === names.length || undefined);
    return { hosts, links, held };
  }
  /** What is assigned, by host. */
  const assigned = (hosts: readonly TestHost[]): Promise<(string[] | undefined)[]> =>
    runInDurableObject(hub(), (_, state) => hosts.map(({ id }) => state.storage.kv.get<{ replicas: AssignedReplica[] }>(`assign:${id}`)?.replicas.map((one) => one.id)));
  /** So many hosts' links are cut, and their leases are over. */
  async function lose(links: readonly TestLink[], held: readonly AssignedReplica[][], count: number): Promise<void> {
    for (const link of links.slice(0, count)) link.socket.close(1000, "gone");
    await soon("the links' ends", 20_000, async () => ((await runInDurableObject(hub(), (_, state) => state.getWebSockets().length)) === links.length - count ? true : undefined));
    const lost = Date.now();
    for (const later of [4_000, 8_000, 12_000, 16_000]) {
      vi.useFakeTimers({ toFake: ["Date"], now: lost + later });
      for (const [i, link] of links.entries()) if (i >= count) link.beat((held[i] ?? []).map((one) => replicaState(one)), { generation: 99 });
      await soon("what is left", 20_000, async () => (await hub().status()).hosts.filter(({ heardAt }) => heardAt >= lost + later).length === links.length - count || undefined);
    }
    await runDurableObjectAlarm(hub());
  }

  test("row 32: six of ten hosts lost at once keep their places, the last table serves, and nothing was moved when they are back", async () => {
    const names = Array.from({ length: 10 }, (_, i) => `host_brake${i}`);
    const { hosts, links, held } = await fleet(names);
    const before = await assigned(hosts);
    expect(before.map((ids) => ids?.length)).toEqual(names.map(() => 1));
    await lose(links, held, 6);
    expect(await assigned(hosts)).toEqual(before);
    const { braked, unplaced } = await hub().status();
    expect(braked).toBe("6 of 10 hosts were lost at once: nothing is moved until they are back, for 5 minutes at most");
    expect(unplaced).toEqual([]);
    // four of them answer: a request has few attempts, and is not sent to those that are gone
    expect((await hub().snapshot()).replicas).toHaveLength(4);
    const back = await Promise.all(hosts.slice(0, 6).map((host) => TestLink.join(host)));
    const again = await Promise.all(back.map((link) => link.assigned(1)));
    expect(again.map(({ replicas }) => replicas.map(({ id }) => id))).toEqual(before.slice(0, 6));
    await soon("the brake's end", 20_000, async () => (await hub().status()).braked === undefined || undefined);
    expect(await assigned(hosts)).toEqual(before);
  });

  test("row 20: a Hub that dies with all its links goes on telling the last table until its agents are back, and moves nothing", async () => {
    const { hosts, links } = await fleet(["host_hub0", "host_hub1", "host_hub2"]);
    const [before, table] = [await assigned(hosts), await hub().snapshot()];
    await evictDurableObject(hub(), { webSockets: "close" });
    await soon("the links' ends", 20_000, () => (links.every(({ closed }) => closed !== undefined) ? true : undefined));
    const after = await hub().snapshot();
    expect(after.hosts.map(({ id, linkUp, relays }) => ({ id, linkUp, relays }))).toEqual(table.hosts.map(({ id, relays }) => ({ id, linkUp: true, relays })));
    expect(after.replicas.map(({ id, phase }) => [id, phase])).toEqual(table.replicas.map(({ id }) => [id, "ready"]));
    await Promise.all(hosts.map((host) => TestLink.join(host)));
    await soon("the brake's end", 20_000, async () => (await hub().status()).braked === undefined || undefined);
    expect(await assigned(hosts)).toEqual(before);
  });

  test("half of them lost: what they had is given to the others", async () => {
    const { hosts, links, held } = await fleet(["host_half0", "host_half1", "host_half2", "host_half3"]);
    await lose(links, held, 2);
    expect((await assigned(hosts)).map((ids) => ids?.length)).toEqual([0, 0, 2, 2]);
    expect((await hub().status()).braked).toBeUndefined();
  });

  test("a host that is taken back has its replacement asked for at the notice, while it serves on, and status says why", async () => {
    const { hosts, links: [noticed, other], held: [mine = []] } = await fleet(["host_spot", "host_safe"]);
    noticed?.beat(mine.map((one) => replicaState(one)), { generation: 99, reclaim: { at: Date.UTC(2030, 0, 1, 12), source: "aws", reason: "AWS terminates this spot instance" } });
    const { replicas } = (await other?.assigned(2)) ?? { replicas: [] };
    expect((await assigned(hosts))[0]).toEqual(mine.map(({ id }) => id));
    // it is still used
    expect((await hub().snapshot()).hosts.find(({ id }) => id === "host_spot")).toMatchObject({ draining: false, linkUp: true });
    const why = "AWS terminates this spot instance at 12:00:00 UTC";
    const status = await hub().status();
    expect(status.hosts.find(({ id }) => id === "host_spot")).toMatchObject({ draining: true, reason: why });
    expect(status.replicas.find(({ host }) => host === "host_spot")?.reason).toBe(why);
    other?.beat(replicas.map((one) => replicaState(one)), { generation: 99 });
    await soon("the noticed host's empty list", 20_000, async () => (await assigned(hosts))[0]?.length === 0 || undefined);
  });

  test("a host that its operator drains is emptied the same way, and used again when that is undone", async () => {
    const { hosts, links: [first, second] } = await fleet(["host_drain", "host_other"]);
    const publishing = (draining: boolean): Promise<Response> => {
      const one = bundle(next(), { hosts, fleet: [fleetService("chat", 2)] });
      return publish({ ...one, fleet: { ...one.fleet, hosts: one.fleet.hosts.map((host) => ({ ...host, draining: draining && host.id === "host_drain" })) } });
    };
    await publishing(true);
    const moved = (await second?.assigned(2)) ?? { replicas: [] };
    expect((await assigned(hosts)).map((ids) => ids?.length)).toEqual([1, 2]);
    second?.beat(moved.replicas.map((one) => replicaState(one)), { generation: 99 });
    expect((await first?.assigned(0))?.replicas).toEqual([]);
    expect((await hub().status()).hosts.find(({ id }) => id === "host_drain")).toMatchObject({ draining: true, reason: "its operator drains it" });
    await publishing(false);
    expect((await hub().status()).hosts.find(({ id }) => id === "host_drain")).toMatchObject({ draining: false });
  });
});

describe("Hub: bundles", () => {
  test("an invalid bundle is refused and the last good one stays", async () => {
    const { record } = await testKey();
    const good = next();
    await publish(bundle(good, { services: [routeService("kept")], keys: [record] }));
    const bad = await publish({ route: { version: next(), services: "none" } });
    expect(bad.status).toBe(422);
    expect(((await bad.json()) as { error: { code: string } }).error.code).toBe("invalid_bundle");
    expect((await hub().view(0)).route?.version).toBe(good);
  });

  test("a bundle that is too large is refused, and the last good one stays", async () => {
    const { record } = await testKey();
    const good = next();
    await publish(bundle(good, { services: [routeService("kept")], keys: [record] }));
    const refused = await publish(bundle(next(), { fleet: [fleetService("large", 1, { run: "x".repeat(bundleBytesMax) })] }));
    expect(refused.status).toBe(413);
    expect(((await refused.json()) as { error: { code: string } }).error.code).toBe("body_too_large");
    expect((await hub().view(0)).route?.version).toBe(good);
  });

  test("a stale bundle is refused with the version in use", async () => {
    const newest = next();
    await publish(bundle(newest, {}));
    const stale = await publish(bundle(newest - 1, {}));
    expect(stale.status).toBe(409);
    expect(stale.headers.get("x-fairlead-bundle-version")).toBe(String(newest));
  });

  test("an isolate that has the version in use is sent snapshots only", async () => {
    const newest = next();
    await publish(bundle(newest, {}));
    expect(await hub().view(newest)).not.toHaveProperty("route");
  });

  test("an isolate that has a snapshot is told what has changed since, and the whole after the Hub woke anew", async () => {
    const [a, b] = [await newHost("host_change_a"), await newHost("host_change_b")];
    await publish(bundle(next(), { hosts: [a, b] }));
    const link = await TestLink.join(a);
    await TestLink.join(b);
    link.beat([]);
    const { version: known } = await soon("a snapshot with both", 20_000, async () => {
      const copy = await hub().snapshot();
      return copy.hosts.some(({ id, relays }) => id === a.id && relays.length === 1) && copy.hosts.some(({ id }) => id === b.id) ? copy : undefined;
    });
    expect(known).toBeDefined();
    link.beat([], { relays: [0, 1] });
    const changed = await soon("the change", 20_000, async () => (await hub().view(0, { local: known })).changes?.find(({ hosts }) => hosts.some(({ relays }) => relays.length === 2)));
    expect(changed.hosts.map(({ id }) => id)).toEqual([a.id]);
    await evictDurableObject(hub(), { webSockets: "hibernate" });
    const anew = await hub().view(0, { local: known });
    expect(anew.changes).toBeUndefined();
    expect(anew.snapshots.find(({ region }) => region === "local")?.hosts.length).toBeGreaterThanOrEqual(2);
  });

  test("view() carries the other regions' snapshots", async () => {
    const host = await newHost("host_far", "weur");
    await publish(bundle(next(), { hosts: [host] }));
    await TestLink.join(host);
    const seen = await soon("the other region's host", 20_000, async () => (await hub().view(0)).snapshots.find(({ region, hosts }) => region === "weur" && hosts.some(({ id }) => id === host.id)));
    expect(seen.region).toBe("weur");
  });
});
