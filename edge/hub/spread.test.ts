import { expect, test } from "vitest";
import { spreadMs } from "./spread.ts";

test.each([[0, 0], [50, 400], [500, 4_000], [1_000, 8_000], [10_000, 8_000]])("%i hosts come back over %i ms: within their lease, whatever their number", (hosts, ms) => {
  expect(spreadMs(hosts)).toBe(ms);
});
