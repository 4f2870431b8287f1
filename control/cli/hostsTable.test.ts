import { expect, test } from "vitest";
import type { HostView } from "../status.ts";
import { bytes, hostsTable, percent } from "./hostsTable.ts";

test.each([[0, "0 B"], [999, "999 B"], [1024, "1 KiB"], [1536, "1.5 KiB"], [141 * 1024 ** 3, "141 GiB"], [1023.9 * 1024 ** 2, "1 GiB"], [undefined, "-"]])("bytes(%s)", (value, text) => {
  expect(bytes(value)).toBe(text);
});

test("percent() tells nothing from none", () => {
  expect([percent(0), percent(0.425), percent(undefined)]).toEqual(["0%", "43%", "-"]);
});

const gib = 1024 ** 3;
const host = (more: Partial<HostView>): HostView => ({ id: "host_1", name: "box", region: "weur", state: "up", linkUp: true, relays: [0, 1], heardAt: 8_000, ...more });
const cells = (view: HostView): string[] => (hostsTable([view], 10_000).split("\n")[1] ?? "").split(/ {2,}/);

test("hostsTable() shows what a host read of itself", () => {
  const gpu = (index: number, utilisation: number) => ({ index, name: "NVIDIA H200", memoryUsedBytes: 39 * gib, memoryTotalBytes: 141 * gib, utilisation });
  const readings = { ageMs: 4_000, gpus: [gpu(0, 0.9), gpu(1, 0.5), { index: 2, slice: 1, name: "NVIDIA A100" }], host: { cpus: 8, load1: 1.25, memoryUsedBytes: 32 * gib, memoryTotalBytes: 64 * gib, diskFreeBytes: 250 * gib } };
  expect(cells(host({ readings, trust: "templates", agentVersion: "0.1.0", protocol: 3, generation: 7, appliedGeneration: 6 }))).toEqual([
    "host_1", "box", "weur", "up", "templates", "2s ago", "0,1", "2 × NVIDIA H200, 78 GiB of 282 GiB, 70%; NVIDIA A100 slice, -, -", "1.3 of 8", "32 GiB of 64 GiB", "250 GiB", "0.1.0", "3", "6 of 7", "-",
  ]);
});

test("hostsTable() shows a dash for what is not known, and never 0", () => {
  expect(cells(host({ state: "lost", relays: [] }))).toEqual(["host_1", "box", "weur", "lost", "-", "2s ago", "-", "-", "-", "-", "-", "-", "-", "-", "-"]);
  expect(cells(host({ readings: { ageMs: 1, gpus: [], host: {} }, generation: 2, appliedGeneration: 2 })).slice(7)).toEqual(["-", "-", "-", "-", "-", "-", "2", "-"]);
});

test.each([
  [{ zone: "us-east-1a", spot: true, accelerator: "L4", priceMicroUsd: 304_000 }, "us-east-1a, spot, L4, $0.30/h"],
  [{ spot: false, accelerator: "A100-80GB" }, "on demand, A100-80GB"],
  [{ priceMicroUsd: 0 }, "$0.00/h"],
])("hostsTable() shows what kind of host one is: %j", (kind, said) => {
  expect(cells(host({ kind })).at(-1)).toBe(said);
});

test("hostsTable() says below why a host does not serve", () => {
  expect(hostsTable([host({ state: "draining", reason: "its operator drains it" }), host({ id: "host_2" })], 10_000)).toMatch(/\nbox \(host_1\) is draining: its operator drains it$/);
});
