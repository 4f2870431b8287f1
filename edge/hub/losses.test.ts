import { describe, expect, test } from "vitest";
import type { Phase } from "../../schema/replica.ts";
import { Losses } from "./losses.ts";
import { newRow, snapshot, type HostRow } from "./roster.ts";

const now = 1_000_000;

/** Hosts by name, each with one replica of the service that is named. */
function rows(...hosts: { id: string; service: string; phase?: Phase; gone?: boolean; silentMs?: number }[]): Map<string, HostRow> {
  return new Map(hosts.map(({ id, service, phase = "ready", gone = false, silentMs = 0 }) => [id, {
    ...newRow(id, 1, now - silentMs), relays: gone ? [] : [0, 1], linkUp: !gone, gone: gone ? { since: now, relays: [0, 1] } : undefined,
    replicas: [{ id: `${service}.local.1`, service, number: 1, version: 1, digest: "d", phase, since: 1, restarts: 0, wasReady: true, inFlight: 0 }],
  }]));
}

describe("Losses", () => {
  test("told of every host that is there, a snapshot is as the roster", () => {
    const losses = new Losses(0, undefined);
    const all = rows({ id: "a", service: "chat" }, { id: "b", service: "embed", gone: true });
    expect(losses.press(all, now)).toBe(false);
    const taken = snapshot(all.values(), "local", now);
    expect(losses.table(taken, all, now)).toBe(taken);
  });

  test("with the brake on, lost hosts are listed as they were, for services that nobody else answers", () => {
    const losses = new Losses(0, undefined);
    const all = rows(
      { id: "here", service: "chat" }, { id: "half", service: "embed", phase: "starting" },
      { id: "gone1", service: "chat", gone: true }, { id: "gone2", service: "embed", gone: true }, { id: "silent", service: "rerank", silentMs: 14_000 },
    );
    expect(losses.press(all, now)).toBe(true);
    expect(losses.brake).toMatchObject({ missing: 3, of: 5 });
    const table = losses.table(snapshot(all.values(), "local", now), all, now);
    expect(table.replicas.map(({ host }) => host)).toEqual(["here", "half", "gone2", "silent"]);
    expect(table.hosts.find(({ id }) => id === "gone2")).toMatchObject({ linkUp: true, relays: [0, 1], heardAt: now });
    expect(table.hosts.find(({ id }) => id === "silent")).toMatchObject({ linkUp: true, relays: [0, 1], heardAt: now });
    expect(table.hosts.find(({ id }) => id === "here")?.heardAt).toBe(now);
  });

  test("a look finds a host that fell silent, once, and not at each heartbeat", () => {
    const losses = new Losses(0, undefined);
    const all = rows({ id: "a", service: "chat" }, { id: "b", service: "chat", silentMs: 14_000 });
    losses.plan(all, now);
    expect(losses.sweep(all, now)).toBe(false);
    expect(losses.sweep(all, now + 1_500)).toBe(false);
    expect(losses.sweep(all, now + 2_500)).toBe(true);
    losses.plan(all, now + 2_500);
    expect(losses.sweep(all, now + 5_000)).toBe(false);
  });

  test("the brake is held from when it was last pressed, whether anything was planned then or not", () => {
    const losses = new Losses(0, undefined);
    const gone = [1, 2, 3, 4].map((i) => ({ id: `gone${i}`, service: "chat", gone: true }));
    expect(losses.press(rows({ id: "a", service: "chat" }, ...gone), now)).toBe(true);
    // they come back a minute later, one last
    expect(losses.sweep(rows({ id: "a", service: "chat" }, ...gone), now + 58_000)).toBe(true);
    const all = new Map([...rows({ id: "a", service: "chat" }, ...gone.slice(0, 1), ...gone.slice(1).map((host) => ({ ...host, gone: false })))].map(([id, row]) => [id, { ...row, heardAt: now + 60_000 }]));
    expect(losses.press(all, now + 60_000)).toBe(false);
    expect(losses.brake).toMatchObject({ pressedAt: now + 58_000 });
  });

  test("the brake outlives its Hub", () => {
    const before = { since: now - 20_000, pressedAt: now - 1_000, missing: 6, of: 10 };
    const losses = new Losses(now, before);
    losses.press(rows({ id: "a", service: "chat" }, { id: "b", service: "chat", gone: true }), now);
    expect(losses.brake).toEqual(before);
  });
});
