import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";

const processes = { testTimeout: 60_000, hookTimeout: 120_000, maxWorkers: 3 } as const;

export default defineConfig({
  test: {
    teardownTimeout: 60_000,
    projects: [
      {
        // pure functions: what a module keeps is forgotten by the test itself, so that files may share one
        test: {
          name: "unit",
          include: ["{schema,edge}/**/*.test.ts", "test/{engine,sim}/**/*.test.ts", "test/*.test.ts"],
          exclude: ["**/*.worker.test.ts", "test/tidy.test.ts"],
          testTimeout: 20_000,
          pool: "threads",
          isolate: false,
        },
      },
      {
        // single parts with processes and servers of their own, which mostly wait for each other
        test: {
          name: "unit-parts",
          include: ["{agent,control,scripts}/**/*.test.ts", "test/tidy/**/*.test.ts", "test/tidy.test.ts", "test/docker/standIn.test.ts"],
          testTimeout: 20_000,
          maxWorkers: 3,
          // after the pure ones, which fill the machine by themselves
          sequence: { groupOrder: 1 },
        },
      },
      {
        plugins: [cloudflareTest({ wrangler: { configPath: "./test/worker/wrangler.toml" } })],
        test: { name: "worker", include: ["edge/**/*.worker.test.ts"], testTimeout: 20_000 },
      },
      { test: { name: "docker", include: ["test/docker/real.test.ts"], ...processes } },
      { test: { name: "e2e", include: ["test/e2e/**/*.test.ts"], ...processes } },
      { test: { name: "engines", include: ["test/engines/**/*.test.ts"], globalSetup: "test/engines/found.ts", ...processes, testTimeout: 300_000 } },
      { test: { name: "network", include: ["test/network/**/*.test.ts"], ...processes } },
      { test: { name: "chaos", include: ["test/chaos/**/*.test.ts"], ...processes } },
    ],
  },
});
