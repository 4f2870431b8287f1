import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Occupied, type Held } from "./occupied.ts";

const replica = (service: string, number: number, host: string): Held => ({ id: `${service}.local.${number}`, service, number, version: 1, digest: "d", host });
const zoneOf = (host: string): string | undefined => (host === "h0" ? undefined : `z${Number(host.slice(1)) % 2}`);
const hosts = ["h0", "h1", "h2", "h3"];
const services = ["a", "b"];

/** All that it says. */
function told(occupied: Occupied): unknown {
  return {
    on: hosts.map((host) => occupied.on(host).map(({ id }) => id).sort()),
    hosts: services.map((service) => Object.fromEntries(occupied.hostsOf(service))),
    zones: services.map((service) => Object.fromEntries(occupied.zonesOf(service))),
  };
}

test("counts by host, service and zone", () => {
  const occupied = new Occupied([replica("a", 1, "h1"), replica("a", 2, "h1"), replica("a", 3, "h3"), replica("b", 1, "h0")], zoneOf);
  expect(occupied.on("h1").map(({ id }) => id)).toEqual(["a.local.1", "a.local.2"]);
  expect(occupied.on("h9")).toEqual([]);
  expect([...occupied.hostsOf("a")]).toEqual([["h1", 2], ["h3", 1]]);
  expect([...occupied.zonesOf("a")]).toEqual([["z1", 3]]);
  // a host that says no zone is in none
  expect([...occupied.zonesOf("b")]).toEqual([]);
  expect([...occupied.hostsOf("c")]).toEqual([]);
});

test("after any comings and goings it says what one says that is made of what is there", () => {
  const step = fc.record({ service: fc.constantFrom(...services), number: fc.integer({ min: 1, max: 4 }), host: fc.constantFrom(...hosts), comes: fc.boolean() });
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const there = new Map<string, Held>();
    const occupied = new Occupied([], zoneOf);
    for (const { service, number, host, comes } of steps) {
      const one = replica(service, number, host);
      const before = there.get(one.id);
      if (comes && before === undefined) {
        there.set(one.id, one);
        occupied.add(one);
      } else if (!comes) {
        there.delete(one.id);
        // what is not there cannot go
        occupied.remove(before ?? one);
      }
    }
    expect(told(occupied)).toEqual(told(new Occupied(there.values(), zoneOf)));
  }), { numRuns: 300 });
});
