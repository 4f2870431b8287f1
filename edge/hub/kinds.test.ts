import { expect, test } from "vitest";
import type { FleetHost } from "../../schema/bundle.ts";
import { task } from "../../test/assignment.ts";
import { roomMax } from "../scale/fit.ts";
import { assignHosts, scaleHosts } from "./kinds.ts";
import { newRow, type HostRow } from "./roster.ts";

const now = 1_000_000;
const fleetHost = (id: string, fields: Partial<FleetHost> = {}): FleetHost => ({ id, name: id, region: "local", publicKey: "", revoked: false, ...fields });
const row = (id: string, fields: Partial<HostRow> = {}): HostRow => ({ ...newRow(id, 1, now), protocol: 3, gpus: 4, ...fields });
const chat = task("chat", "a", { gpus: 2 });

/** Hosts as told to a Scaler, of one row each and what is assigned there. */
function seen(rows: HostRow[], replicas: { id: string; digest: string; host: string }[] = [], one = chat) {
  const hosts = assignHosts(rows.map(({ id }) => fleetHost(id)), { rows: new Map(rows.map((each) => [each.id, each])), awakeSince: 0, braked: false, reclaims: new Map([["us-east-1a", 3]]) }, now);
  const held = replicas.map(({ id, digest, host }, i) => ({ id, digest, host, service: "chat", number: i + 1, version: 1 }));
  return scaleHosts({ region: "local", task: one, hosts, held, states: new Map(), tasks: new Map([[one.digest, one], ["other", task("chat", "other", { gpus: 3, fixedPort: 80 })]]) });
}

test("scaleHosts() says what a host is, what its zone has seen and whether its weights are near", () => {
  const kind = { zone: "us-east-1a", spot: true, accelerator: "L4", priceMicroUsd: 300_000 };
  expect(seen([row("h", { kind: { ...kind, warm: ["a", "b"] } })])).toEqual([{ id: "h", region: "local", usable: true, room: 2, warm: true, reclaims: 3, ...kind }]);
  expect(seen([row("h")])).toEqual([{ id: "h", region: "local", usable: true, room: 2, warm: false, reclaims: 0 }]);
});

test.each([
  ["GPUs are left for", [{ id: "chat.local.1", digest: "a", host: "h" }], chat, 1],
  ["others leave", [{ id: "chat.local.1", digest: "other", host: "h" }], chat, 0],
  ["one fixed port gives", [], task("chat", "a", { fixedPort: 80 }), 1],
  ["a taken port gives", [{ id: "chat.local.1", digest: "other", host: "h" }], task("chat", "a", { fixedPort: 80 }), 0],
  ["nothing bounds", [], task("chat", "a"), roomMax],
])("scaleHosts() has room for as many as %s", (_, replicas, one, rooms) => {
  expect(seen([row("h")], replicas, one)[0]?.room).toBe(rooms);
});

test("scaleHosts() has no room on hosts that take nothing new, and leaves out those that are lost", () => {
  expect(seen([row("cut", { linkUp: false }), row("leaves", { draining: true }), row("lost", { heardAt: 0 })]).map(({ id, usable, room }) => [id, usable, room])).toEqual([["cut", false, 0], ["leaves", false, 0]]);
});
