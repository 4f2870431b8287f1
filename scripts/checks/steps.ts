import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { noNamespaces } from "../../test/network/namespace.ts";
import { countVitest, skippedIn, type Counts } from "./counts.ts";

const root = join(import.meta.dirname, "../..");

/** Vitest projects; each runs as a process of its own. */
const projects = ["unit", "worker", "e2e", "chaos", "engines", "docker", "faults", "network"] as const;
type Project = (typeof projects)[number];

export const suites = [...projects, "bench-smoke", "smoke", "all"] as const;
export type Suite = (typeof suites)[number];

/** One command, and how its result is counted. */
export interface Step {
  name: string;
  command: [string, ...string[]];
  count: (exitCode: number) => Counts;
  /** What it has skipped, in words. */
  skipped?: () => string[];
}

/** A check that is right or wrong as a whole. */
function check(name: string, ...command: [string, ...string[]]): Step {
  return { name, command, count: (exitCode) => ({ passed: exitCode === 0 ? 1 : 0, failed: exitCode === 0 ? 0 : 1, skipped: 0 }) };
}

/** A check that this machine cannot run. */
function skipped(name: string, reason: string): Step {
  return { name: `${name}, skipped: ${reason}`, command: ["true"], count: () => ({ passed: 0, failed: 0, skipped: 1 }) };
}

function vitest(project: Project, folder: string): Step {
  const report = join(folder, `${project}.json`);
  const read = (): string | undefined => (existsSync(report) ? readFileSync(report, "utf8") : undefined);
  return {
    name: project,
    command: ["vitest", "run", "--project", project === "unit" ? "unit*" : project, "--passWithNoTests", "--reporter=default", "--reporter=json", `--outputFile.json=${report}`],
    count: (exitCode) => countVitest(read(), exitCode),
    skipped: () => skippedIn(read()),
  };
}

function statics(): Step[] {
  const examples = readdirSync(join(root, "examples")).filter((name) => /\.ya?ml$/.test(name)).sort().map((name) => join("examples", name));
  const cli = "control/cli/fairlead.mjs";
  return [
    check("lint", "oxlint", "--type-aware", "--deny-warnings"),
    check("types", "tsc", "-p", "tsconfig.json"),
    check("types of the edge", "tsc", "-p", "edge/tsconfig.json"),
    // once for all worlds of the suites: those that start together would all bundle them
    check("bundles of both Workers", "node", "scripts/local/workers.ts"),
    ...(existsSync(join(root, cli)) && examples.length > 0 ? [check("examples", "node", cli, "validate", ...examples)] : []),
  ];
}

/** A project that the configuration does not have yet has nothing to fail. */
function exists(project: Project): boolean {
  return readFileSync(join(root, "vitest.config.ts"), "utf8").includes(`name: "${project}"`);
}

/** @param folder where reports go */
export function stepsOf(chosen: readonly Suite[], folder: string): Step[] {
  const steps = chosen.flatMap((suite) => {
    switch (suite) {
      case "all":
        return [...statics(), ...(["unit", "worker", "e2e", "chaos"] as const).map((project) => vitest(project, folder))];
      case "bench-smoke":
        return [check("bench-smoke", "scripts/bench/edge", "--quick", "--peers", "fairlead")];
      case "smoke":
        return [check("smoke", "scripts/ci/smoke")];
      case "network": {
        const lacking = noNamespaces();
        return [lacking === undefined ? vitest(suite, folder) : skipped(suite, lacking)];
      }
      case "unit":
      case "worker":
      case "e2e":
      case "chaos":
      case "engines":
      case "docker":
      case "faults":
        return exists(suite) ? [vitest(suite, folder)] : [];
    }
  });
  return steps.filter(({ name }, i) => steps.findIndex((one) => one.name === name) === i);
}
