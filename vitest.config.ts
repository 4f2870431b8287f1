import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Limits say when a test is given up, and no more: a machine that others keep busy takes ten times as long. What has to be in time is measured by the tests. */
const limits = { testTimeout: 60_000, hookTimeout: 60_000, expect: { poll: { timeout: 20_000 } } } as const;
const processes = { testTimeout: 120_000, hookTimeout: 240_000, maxWorkers: 3 } as const;

/** Files that take longest, by which a suite ends: where no timings are kept, as on a fresh clone, Vitest would begin with the largest files. */
const longest = ["test/e2e/scale.test.ts", "control/cli/cli.test.ts", "agent/agent.test.ts", "agent/maliciousHub.test.ts", "test/chaos/carriage.test.ts", "test/chaos/cluster.test.ts", "test/chaos/forward.test.ts", "test/chaos/hosts.test.ts", "test/chaos/resume.test.ts"];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => longest.findLastIndex((name) => moduleId.endsWith(`/${name}`));
    const isLong = (file: TestSpecification): boolean => rank(file) >= 0;
    const sorted = await super.sort(files);
    return [...sorted.filter(isLong).sort((a, b) => rank(a) - rank(b)), ...sorted.filter((file) => !isLong(file))];
  }
}

export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    teardownTimeout: 60_000,
    projects: [
      {
        // pure functions: what a module keeps is forgotten by the test itself, so that files may share one
        test: {
          name: "unit",
          include: ["{schema,edge}/**/*.test.ts", "test/{engine,sim}/**/*.test.ts", "test/*.test.ts"],
          exclude: ["**/*.worker.test.ts", "test/tidy.test.ts"],
          ...limits,
          pool: "threads",
          isolate: false,
        },
      },
      {
        // single parts with processes and servers of their own
        test: {
          name: "unit-parts",
          include: ["{agent,control,scripts}/**/*.test.ts", "test/tidy/**/*.test.ts", "test/tidy.test.ts", "test/docker/standIn.test.ts"],
          ...limits,
          // some of them are bound in time: no more at once than there are cores
          maxWorkers: 2,
          // after the pure ones, which fill the machine by themselves
          sequence: { groupOrder: 1 },
        },
      },
      {
        plugins: [cloudflareTest({ wrangler: { configPath: "./test/worker/wrangler.toml" } })],
        // most of their time they wait
        test: { name: "worker", include: ["edge/**/*.worker.test.ts"], ...limits, maxWorkers: 3 },
      },
      { test: { name: "docker", include: ["test/docker/real.test.ts"], ...processes } },
      { test: { name: "e2e", include: ["test/e2e/**/*.test.ts"], ...processes } },
      { test: { name: "engines", include: ["test/engines/**/*.test.ts"], globalSetup: "test/engines/found.ts", ...processes, testTimeout: 300_000 } },
      { test: { name: "faults", include: ["test/faults/**/*.test.ts"], ...processes } },
      { test: { name: "network", include: ["test/network/**/*.test.ts"], ...processes } },
      { test: { name: "chaos", include: ["test/chaos/**/*.test.ts"], ...processes } },
    ],
  },
});
