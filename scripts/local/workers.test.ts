import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { buildWorkers } from "./workers.ts";

const folder = mkdtempSync(join(tmpdir(), "fairlead-workers-"));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("worlds that bundle into one folder at a time do not read each other's unfinished files, and leave nothing else there", async () => {
  const [one, other] = await Promise.all([buildWorkers(folder), buildWorkers(folder)]);
  expect(one).toEqual(other);
  for (const { script } of Object.values(one)) expect(readFileSync(script, "utf8")).toMatch(/export \{[^}]*\};?\s*(\/\/# sourceMappingURL=.*\s*)?$/);
  expect(readdirSync(folder).sort()).toEqual(["fleet.js", "fleet.json", "router.js", "router.json"]);
}, 180_000);
