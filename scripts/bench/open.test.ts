import { describe, expect, test } from "vitest";
import { chunksPerStream } from "./exchange.ts";
import { alonePerStreamKiB, heapPerStreamKiB, openGapMs, rssPerStreamKiB, type OpenSample } from "./open.ts";
import { openTarget, targetLine } from "./targets.ts";

const sample: OpenSample = {
  streams: 400,
  none: { rssKiB: 50_000, heapKiB: 2_000 },
  open: { rssKiB: 90_000, heapKiB: 10_000 },
  aloneRssKiB: 110_000,
  ended: { rssKiB: 90_000, heapKiB: 2_000 },
  errors: 0,
};

describe("memory per open stream", () => {
  test("is what came with the streams, shared among them; what waits for a collector is told apart", () => {
    expect(rssPerStreamKiB(sample)).toBe(100);
    expect(heapPerStreamKiB(sample)).toBe(20);
    expect(alonePerStreamKiB(sample)).toBe(150);
  });

  test("has no heap where there is no inspector", () => {
    expect(heapPerStreamKiB({ ...sample, none: { rssKiB: 50_000 }, open: { rssKiB: 90_000 } })).toBeNaN();
  });

  test.each([1, 4, 60])("is read while every stream is open (measurements of %i s)", (seconds) => {
    // the first stream began two seconds before the last; then they settle, and are read
    expect(openGapMs(seconds) * chunksPerStream).toBeGreaterThan((2 + 3 + seconds) * 1_000);
  });

  test.each<[string, number | undefined, string]>([
    ["met", 50_000 + 120 * 400, "measured 120.00 KB: met"],
    ["missed", 50_000 + 121 * 400, "measured 121.00 KB: missed"],
    ["not measured", undefined, "not measured in this run"],
  ])("against its target: %s", (_, rssKiB, line) => {
    const rounds = rssKiB === undefined ? undefined : new Map([["fairlead", [{ ...sample, open: { rssKiB } }]]]);
    expect(targetLine(openTarget(rounds))).toBe(`target memory per open stream <= 120 KB: ${line}`);
  });
});
