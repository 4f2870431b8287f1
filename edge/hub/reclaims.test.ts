import { expect, test } from "vitest";
import { reclaimsAfter, reclaimsByZone, reclaimsForMs, type Reclaimed } from "./reclaims.ts";
import { newRow, type HostRow } from "./roster.ts";

const [now, hourMs] = [1_000_000_000, 3_600_000];
const zone = "us-east-1a";
const row = (id: string, fields: Partial<HostRow> = {}): HostRow => ({ ...newRow(id, 1, now), kind: { zone, spot: true }, ...fields });
const notice = { at: now + 120_000, source: "aws", reason: "AWS terminates this spot instance" };
const after = (known: readonly Reclaimed[], one: HostRow, at = now) => reclaimsAfter(known, new Map([[one.id, one]]), at, 0);

test.each<[string, Partial<HostRow>, number]>([
  ["a notice that says when", { reclaim: notice }, 1],
  ["a notice of an on-demand host", { reclaim: notice, kind: { zone, spot: false } }, 1],
  ["a recommendation: nobody says when", { reclaim: { source: "aws", reason: "it may be taken back soon" } }, 0],
  ["a spot host that is lost", { heardAt: now - 60_000, linkUp: false }, 1],
  ["an on-demand host that is lost", { heardAt: now - 60_000, linkUp: false, kind: { zone, spot: false } }, 0],
  ["a spot host that said goodbye", { heardAt: 0, linkUp: false }, 0],
  ["one whose zone is not known", { reclaim: notice, kind: { spot: true } }, 0],
  ["a spot host that is there", {}, 0],
])("reclaimsAfter() with %s", (_, fields, count) => {
  expect(after([], row("h", fields))).toHaveLength(count);
});

test("a host counts once for its notice and the loss that follows, and again when it is taken back later", () => {
  const noticed = after([], row("h", { reclaim: notice }));
  expect(after(noticed, row("h", { reclaim: notice, heardAt: now + 5_000 }), now + 5_000)).toBe(noticed);
  const gone = row("h", { reclaim: notice, heardAt: now + 120_000, linkUp: false });
  expect(after(noticed, gone, now + 150_000)).toBe(noticed);
  expect(after(noticed, gone, now + 5 * hourMs)).toBe(noticed);
  const again = now + 6 * hourMs;
  expect(after(noticed, row("h", { reclaim: { ...notice, at: again }, heardAt: again }), again)).toHaveLength(2);
});

test("what is older than a day is forgotten, and counts by zone are of what is left", () => {
  const known = [{ host: "a", zone, at: now - reclaimsForMs }, { host: "b", zone, at: now - hourMs }, { host: "c", zone: "us-east-1b", at: now }];
  expect(reclaimsByZone(known, now)).toEqual(new Map([[zone, 1], ["us-east-1b", 1]]));
  expect(reclaimsAfter(known, new Map(), now, 0)).toEqual(known.slice(1));
});
