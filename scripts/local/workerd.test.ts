import { expect, test } from "vitest";
import { workerdConfig } from "./workerd.ts";

test("workerd runs both Workers as they are deployed: by their own dates and flags, without any of V8's, and no secret stands in its file", () => {
  const worker = { compatibilityDate: "2026-11-01", compatibilityFlags: ["a_flag"], objects: [], kv: [], vars: {}, secrets: ["FAIRLEAD_SHARED_KEY"] };
  const config = workerdConfig({ workers: { router: { ...worker, script: "/w/router.js" }, fleet: { ...worker, script: "/w/fleet.js" } }, state: "/s", routerPort: 1, fleetPort: 2, values: { FAIRLEAD_SHARED_KEY: "a secret" } });
  expect(config.match(/compatibilityDate = "2026-11-01",\n {2}compatibilityFlags = \["a_flag"\]/g)).toHaveLength(2);
  // Cloudflare takes none, so what they do would be true nowhere else
  expect(config).not.toMatch(/v8Flags|autogates/);
  expect(config).not.toContain("a secret");
});
