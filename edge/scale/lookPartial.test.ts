import { expect, test } from "vitest";
import { seeded } from "../../schema/clock.ts";
import type { Region } from "../../schema/region.ts";
import type { RegionFacts } from "../../schema/scale.ts";
import { task } from "../../test/assignment.ts";
import { facts, policy } from "../../test/scaling.ts";
import { look, retryMs, type Kept } from "./look.ts";

const now = 1_700_000_000_000;
const regions: Region[] = ["weur", "enam"];

/** What a region's Hub says by its bundle: of the first the service has version 1, later it has 2. */
function said(region: Region, bundleVersion: number, generation: number, isThere = true): RegionFacts {
  const version = Math.min(2, bundleVersion);
  const service = { task: task("chat", version === 1 ? "a" : "b", { version }), replicas: {}, policy: policy({ autoscaler: "fixed", min: 2, max: 4 }), ...(version === 1 ? {} : { previous: { version: 1, digest: "a" } }) };
  return facts({ region, at: now, bundleVersion, generation, hosts: [{ id: `${region}-1`, region, usable: true, room: 4, warm: false, reclaims: 0 }], ...(isThere ? { service } : {}) });
}

const at = (kept: Kept, given: RegionFacts[]) => look(kept, given, regions, now, seeded(1));
const { kept } = at({ generation: 0 }, [said("weur", 2, 0), said("enam", 2, 0)]);

test.each<[string, RegionFacts]>([
  ["an earlier configuration", said("enam", 1, 1)],
  ["none, for it has just been made", said("enam", 0, 0, false)],
])("look() concludes nothing, and forgets nothing, while the only region that answers has %s", (_, late) => {
  expect(kept.desire).toMatchObject({ version: 2, generation: 1 });
  expect(at(kept, [late])).toEqual({ kept, behind: [], nextMs: retryMs });
});

test("look() takes what all regions say for the truth, and what one says of a later configuration", () => {
  expect(at(kept, [said("weur", 1, 1), said("enam", 1, 1)]).kept.desire).toMatchObject({ version: 1 });
  expect(at(kept, [said("weur", 3, 1, false)]).kept).toEqual({ generation: 1 });
});
