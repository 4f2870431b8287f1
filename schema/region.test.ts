import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isRegion, nearestRegion, parseRegions, regions, type Region } from "./region.ts";

const all = Object.keys(regions) as Region[];
const placed = all.filter((region) => region !== "local");

describe("parseRegions()", () => {
  test.each([
    ["weur", ["weur"]],
    ["weur,enam", ["weur", "enam"]],
    [" weur , enam ,", ["weur", "enam"]],
  ])("reads %j", (text, names) => {
    expect(parseRegions(text)).toEqual(names);
  });

  test("names the region that is unknown", () => {
    expect(() => parseRegions("weur,mars")).toThrow('Cannot use region "mars": it is none of wnam, ');
  });

  test.each(["", ",", " , "])("says that none is named: %j", (text) => {
    expect(() => parseRegions(text)).toThrow("FAIRLEAD_REGIONS is empty");
  });

  test.each(["toString", "constructor", "__proto__"])("%s, which every object has, is no region", (name) => {
    expect(isRegion(name)).toBe(false);
  });
});

describe("nearestRegion()", () => {
  test.each([
    ["San Francisco", 37.8, -122.4, "wnam"], ["New York", 40.7, -74, "enam"], ["São Paulo", -23.5, -46.6, "sam"], ["London", 51.5, -0.1, "weur"], ["Warsaw", 52.2, 21, "eeur"],
    ["Hong Kong", 22.3, 114.2, "apac"], ["Sydney", -33.9, 151.2, "oc"], ["Nairobi", -1.3, 36.8, "afr"], ["Dubai", 25.2, 55.3, "me"],
  ] as const)("from %s", (_, latitude, longitude, region) => {
    expect(nearestRegion({ latitude, longitude }, placed)).toBe(region);
  });

  test("goes over the date line where that is shorter", () => {
    expect(nearestRegion({ latitude: 10, longitude: 179 }, ["enam", "oc"])).toBe("oc");
    expect(nearestRegion({ latitude: 40, longitude: 170 }, ["eeur", "wnam"])).toBe("wnam");
  });

  test("each region's own centre is nearest to itself", () => {
    for (const region of all) expect(nearestRegion(regions[region], all)).toBe(region);
  });

  test("is the first where the place is unknown, and always one of those offered", () => {
    fc.assert(fc.property(fc.subarray(all, { minLength: 1 }), fc.double({ min: -90, max: 90, noNaN: true }), fc.double({ min: -180, max: 180, noNaN: true }), (from, latitude, longitude) => {
      expect(nearestRegion(undefined, from)).toBe(from[0]);
      expect(from).toContain(nearestRegion({ latitude, longitude }, from));
    }), { numRuns: 300 });
  });

  test("says so where none is named", () => {
    expect(() => nearestRegion(undefined, [])).toThrow("none is named");
  });
});
