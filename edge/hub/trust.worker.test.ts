import { runInDurableObject } from "cloudflare:test";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { frameKinds, jsonFrame, noPayload, readRequestHead, windowBytes, windowFrame } from "../../schema/frames.ts";
import { closeCodes, protocol, type HubMessage } from "../../schema/protocol.ts";
import { sealTo, toBase64 } from "../../schema/seal.ts";
import { bundle, fleetService, newHost, publish, replicaState, self, soon, TestLink, TestRelayLink, world, type TestHost } from "../../test/worker/world.ts";

/** What Hub and Relay hold against hosts that lie, and against whoever knocks. */

let version = Date.now();
const next = (): number => ++version;
const hub = (): ReturnType<typeof world.HUB.getByName> => world.HUB.getByName("local");
const closeOf = (link: { closed: { code: number } | undefined }): Promise<number> => soon("a close", 20_000, () => link.closed?.code);

afterEach(async () => {
  await publish(bundle(next(), {}));
});

describe("a cloned identity", () => {
  const quarantined = async (host: TestHost) => (await hub().status()).hosts.find(({ id }) => id === host.id)?.quarantine;

  test("fighters are shut out, both, with a reason that people see, until an operator lets the host back in", async () => {
    const host = await newHost("host_fight");
    const known = bundle(next(), { hosts: [host], fleet: [fleetService("chat", 1)] });
    await publish(known);
    const links = [];
    for (const instance of ["a", "b", "a"]) links.push(await TestLink.join(host, { protocol, instance }));
    expect(await quarantined(host)).toBeUndefined();
    const last = await TestLink.open("local");
    await last.hello(host, { protocol, instance: "b" });
    expect([await closeOf(last), await closeOf(links[2] ?? last)]).toEqual([closeCodes.quarantined, closeCodes.quarantined]);
    expect((await quarantined(host))?.reason).toContain("its identity was copied");
    expect((await hub().snapshot()).hosts.find(({ id }) => id === host.id)).toMatchObject({ linkUp: false, relays: [] });

    // neither comes in again; an older agent, which does not know the code, is told to wait by one that it knows
    const [again, older] = [await TestLink.open("local"), await TestLink.open("local")];
    await again.hello(host, { protocol, instance: "a" });
    await older.hello(host, { protocol: 2 });
    expect([await closeOf(again), await closeOf(older)]).toEqual([closeCodes.quarantined, closeCodes.unauthorized]);

    const released = { ...known, route: { ...known.route, version: next() }, fleet: { ...known.fleet, hosts: known.fleet.hosts.map((one) => ({ ...one, releases: 1 })) } };
    await publish(released);
    expect(await quarantined(host)).toBeUndefined();
    expect((await TestLink.join(host, { protocol, instance: "a" })).welcome?.epoch).toBeGreaterThan(0);
  });

  test("an agent that loses its connection again and again is no clone", async () => {
    const host = await newHost("host_flaky");
    await publish(bundle(next(), { hosts: [host] }));
    for (let i = 0; i < 6; i++) await TestLink.join(host, { protocol, instance: "a" });
    expect(await quarantined(host)).toBeUndefined();
  });
});

describe("fencing", () => {
  test("a superseded session has no say any more: neither heartbeats nor reports nor data links", async () => {
    const host = await newHost("host_stale");
    await publish(bundle(next(), { hosts: [host], fleet: [fleetService("chat", 1)] }));
    const first = await TestLink.join(host, { protocol, instance: "a" });
    const { replicas, generation } = await first.assigned(1);
    const state = replicaState(replicas[0] ?? { id: "", service: "", number: 0, version: 1, digest: "" });
    first.beat([state], { generation });
    const relay = await TestRelayLink.open(host.id, first.welcome?.relays[0] ?? { index: 0, ticket: "" });
    const second = await TestLink.join(host, { protocol, instance: "b" });
    second.beat([{ ...state, phase: "unhealthy" }], { generation });
    await soon("the new word", 20_000, async () => (await hub().snapshot()).replicas.find(({ id, phase }) => id === state.id && phase === "unhealthy"));
    expect(await closeOf(first)).toBe(closeCodes.superseded);
    expect(await closeOf(relay)).toBe(closeCodes.superseded);
    expect((await hub().snapshot()).replicas.find(({ id }) => id === state.id)?.phase).toBe("unhealthy");
    // a ticket of the old session opens nothing, though it has not expired
    const stale = await self.fetch(`http://fleet/agents/relay/${host.id}/1`, { headers: { upgrade: "websocket", authorization: `Bearer ${first.welcome?.relays[1]?.ticket ?? ""}` } });
    expect(stale.status).toBe(409);
    // the epoch is in every message: one of another session, earlier or later, is a violation
    second.say({ type: "report", epoch: first.welcome?.epoch ?? 0, replica: state });
    expect(await closeOf(second)).toBe(closeCodes.policy);
    expect((await hub().snapshot()).replicas.find(({ id }) => id === state.id)?.phase).toBe("unhealthy");
  });

  test("two agents claim one replica id: only its owner's word counts, and none under another service's name", async () => {
    const [a, b] = [await newHost("host_owner"), await newHost("host_liar")];
    await publish(bundle(next(), { hosts: [a, b], fleet: [fleetService("chat", 1), fleetService("code", 1)] }));
    const [first, second] = [await TestLink.join(a), await TestLink.join(b)];
    const mine = await soon("an assignment", 20_000, () => first.inbox.findLast((message: HubMessage) => message.type === "assign" && message.replicas.length > 0));
    if (mine.type !== "assign") throw new Error("no assignment");
    first.beat(mine.replicas.map((one) => replicaState(one)), { generation: mine.generation });
    await soon("the owner's replicas", 20_000, async () => ((await hub().snapshot()).replicas.filter(({ host }) => host === a.id).length === mine.replicas.length ? true : undefined));
    const [one] = mine.replicas;
    if (one === undefined) throw new Error("no replica");
    const theirs = second.inbox.findLast((message: HubMessage) => message.type === "assign");
    const own = theirs?.type === "assign" ? theirs.replicas : [];
    second.beat([replicaState(one), replicaState({ ...one, id: "chat.local.9999", number: 9999 }), ...own.map((other) => replicaState({ ...other, service: "another" }))]);
    second.say({ type: "report", epoch: second.welcome?.epoch ?? 0, replica: replicaState(one, { phase: "failed", reason: "a lie" }) });
    second.beat([], { draining: true });
    await soon("the liar's last word", 20_000, async () => ((await hub().snapshot()).hosts.find(({ id }) => id === b.id)?.draining === true ? true : undefined));
    const { replicas } = await hub().snapshot();
    expect(replicas.filter(({ host }) => host === b.id)).toEqual([]);
    expect(replicas.find(({ id }) => id === one.id)).toMatchObject({ host: a.id, phase: "ready" });
  });
});

describe("before a hello", () => {
  test.each([
    ["heartbeat", { type: "heartbeat", epoch: 1, generation: 0, relays: [], draining: false, replicas: [] }],
    ["report", { type: "report", epoch: 1, replica: { id: "chat.local.1", service: "chat", number: 1, version: 1, digest: "d", phase: "ready", since: 0, restarts: 0, wasReady: true, inFlight: 0 } }],
    ["goodbye", { type: "goodbye", epoch: 1 }],
    ["tickets", { type: "tickets", epoch: 1 }],
    ["welcome, a hub's own", { type: "welcome", protocol: 1, epoch: 1, heartbeatMs: 1, leaseMs: 1, relays: [] }],
    ["assign, a hub's own", { type: "assign", generation: 1, tasks: [], replicas: [] }],
    ["challenge, a hub's own", { type: "challenge", nonce: "", protocol: 1, protocolMin: 1, region: "local" }],
    ["relays, a hub's own", { type: "relays", relays: [] }],
    ["nothing known", { type: "debug" }],
  ])("%s closes the link with 1008", async (_, message) => {
    const link = await TestLink.open("local");
    await link.next("challenge");
    link.say(JSON.stringify(message));
    expect(await closeOf(link)).toBe(closeCodes.policy);
  });

  test.each(["/agents/relay/host_x/0", "/agents/relay/host_x/0?epoch=9", "/agents/relay/..%2fhost/0"])("a data link without a ticket is refused: %s", async (path) => {
    expect((await self.fetch(`http://fleet${path}`, { headers: { upgrade: "websocket" } })).status).toBe(401);
  });
});

describe("what no agent of ours sends", () => {
  const mutated = (text: string) =>
    fc.oneof(
      fc.string({ maxLength: 300 }),
      fc.json(),
      fc.tuple(fc.nat(text.length - 1), fc.string({ minLength: 1, maxLength: 3 })).map(([at, piece]) => text.slice(0, at) + piece + text.slice(at + 1)),
      fc.constantFrom("{", "[]", "null", `{"type":"heartbeat","epoch":1e999}`, `{"type":"__proto__"}`, "x".repeat(70_000), `${"[".repeat(2_000)}${"]".repeat(2_000)}`),
    );

  test("text on a control link is ignored or closes it with 1008, and the hub serves on", async () => {
    const host = await newHost("host_fuzz");
    await publish(bundle(next(), { hosts: [host] }));
    const beat = JSON.stringify({ type: "heartbeat", epoch: 1, generation: 0, relays: [0], draining: false, replicas: [replicaState({ id: "chat.local.1", service: "chat", number: 1, version: 1, digest: "d" })] });
    await fc.assert(
      fc.asyncProperty(mutated(beat), fc.boolean(), async (text, before) => {
        const link = before ? await TestLink.open("local") : await TestLink.join(host, { protocol, instance: "a" });
        link.say(text);
        // whatever it was, the next word of an honest agent is understood, or the link is closed as a violation
        if (!before) link.beat([]);
        await scheduler.wait(2);
        if (link.closed !== undefined) expect(link.closed.code).toBe(closeCodes.policy);
        link.socket.close(1000, "done");
      }),
      { numRuns: 60 },
    );
    const after = await TestLink.join(host, { protocol, instance: "a" });
    after.beat([], { relays: [1] });
    await soon("the heartbeat's trace", 20_000, async () => ((await hub().snapshot()).hosts.find(({ id }) => id === host.id)?.relays[0] === 1 ? true : undefined));
  });

  test("frames on a data link are ignored, end their stream or close the link with 1008, and the relay serves on", async () => {
    const host = await newHost("host_frames");
    await publish(bundle(next(), { hosts: [host] }));
    const control = await TestLink.join(host, { protocol, instance: "a" });
    const carry = (): Promise<Response> => world.RELAY.getByName(`${host.id}/0`).fetch("http://carry/x", { headers: { "x-fairlead-target": "chat.local.1", "x-fairlead-request": "req_1" } });
    const ticket = async () => {
      control.say({ type: "tickets", epoch: control.welcome?.epoch ?? 0 });
      return (await control.next("relays")).relays[0] ?? { index: 0, ticket: "" };
    };
    const header = fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 0xffffffff }), fc.constantFrom(0, 1, 5, 0xffffffff), fc.uint8Array({ maxLength: 40 }));
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 200 }), header), fc.boolean(), async (piece, knowsStream) => {
        const link = await TestRelayLink.open(host.id, await ticket());
        const answer = carry();
        const { stream } = await link.next(frameKinds.open);
        if (piece instanceof Uint8Array) link.socket.send(piece);
        else {
          const [kind, other, sequence, payload] = piece;
          const bytes = new Uint8Array(13 + payload.byteLength);
          const view = new DataView(bytes.buffer);
          view.setUint8(0, kind);
          view.setUint32(1, knowsStream ? stream : other);
          view.setUint32(5, sequence);
          view.setUint32(9, payload.byteLength);
          bytes.set(payload, 13);
          link.socket.send(bytes);
        }
        link.socket.close(1000, "done");
        const response = await answer;
        await response.arrayBuffer().catch(() => undefined);
        if (link.closed !== undefined) expect([1000, closeCodes.policy]).toContain(link.closed.code);
      }),
      { numRuns: 60 },
    );
    const link = await TestRelayLink.open(host.id, await ticket());
    const answer = carry();
    const open = await link.next(frameKinds.open);
    expect(readRequestHead(open).path).toBe("/x");
    link.send(windowFrame(open.stream, windowBytes), jsonFrame(frameKinds.open, open.stream, { status: 200, headers: [] }), { kind: frameKinds.end, stream: open.stream, sequence: 0, payload: noPayload });
    expect((await answer).status).toBe(200);
  });
});

test("a secret of a replica is in nothing that a hub receives, stores or sends", async () => {
  const secret = "planted-secret-4fTq8xWv2L";
  const host = await newHost("host_secret");
  const pair = (await crypto.subtle.generateKey("X25519", true, ["deriveBits"])) as CryptoKeyPair;
  const sealKey = toBase64(new Uint8Array((await crypto.subtle.exportKey("raw", pair.publicKey)) as ArrayBuffer));
  const service = { ...fleetService("chat", 1), sealedSecrets: { [host.id]: await sealTo(sealKey, "secrets:chat", JSON.stringify({ TOKEN: secret })) } };
  const received = bundle(next(), { hosts: [host], fleet: [service] });
  await publish(received);
  const link = await TestLink.join(host);
  const assign = await link.assigned(1);
  expect(assign.tasks[0]?.sealedSecrets).toBe(service.sealedSecrets[host.id]);
  const stored = await runInDurableObject(hub(), (_hub, state) => JSON.stringify([...state.storage.kv.list()]));
  expect(stored).toContain(service.sealedSecrets[host.id]);
  // in whatever way a text may be written down: as it is, in base64 at each offset, in hexadecimal
  const forms = [secret, ...[0, 1, 2].map((pad) => btoa(" ".repeat(pad) + secret).slice(pad + 1, -4)), Array.from(new TextEncoder().encode(secret), (byte) => byte.toString(16).padStart(2, "0")).join("")];
  const all = [stored, JSON.stringify(received), JSON.stringify(assign), JSON.stringify(link.inbox), JSON.stringify(await hub().view(0)), JSON.stringify(await hub().status()), (await hub().metrics()).text].join("\n");
  for (const form of forms) expect(all).not.toContain(form);
});
