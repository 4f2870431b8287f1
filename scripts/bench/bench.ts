import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { killAll } from "./children.ts";
import { chooseCores, type Cores } from "./cores.ts";
import type { Options } from "./options.ts";
import { startUpstreams, type Upstreams } from "./upstream.ts";
import { which } from "./which.ts";

/** What every scenario needs: where to run what, and how to say what goes on. */
export interface Bench {
  options: Options;
  cores: Cores;
  /** For configuration and logs; removed at the end. */
  workDir: string;
  /** Path of wrk; undefined where it is not installed. */
  wrk: string | undefined;
  upstreams: Upstreams;
  say: (line: string) => void;
}

/** Sees to it that, however the program ends, the processes it started end and its folder goes. */
function cleanUpAtEnd(workDir: string): void {
  process.on("exit", () => {
    killAll();
    rmSync(workDir, { recursive: true, force: true, maxRetries: 3 });
  });
  // 128 + the number of the signal, as a shell reports it.
  process.on("SIGINT", () => process.exit(130));
  process.on("SIGTERM", () => process.exit(143));
  process.on("SIGHUP", () => process.exit(129));
}

export async function openBench(options: Options): Promise<Bench> {
  if (process.platform !== "linux") throw new Error("Cannot run here: CPU and memory are read from /proc, which only Linux has");
  const workDir = mkdtempSync(join(tmpdir(), "fairlead-bench-"));
  cleanUpAtEnd(workDir);
  const cores = chooseCores();
  const upstreams = await startUpstreams({ workDir, cpu: cores.load });
  return { options, cores, workDir, wrk: which("wrk"), upstreams, say: (line) => process.stderr.write(`${line}\n`) };
}

/** What this run is made of and what it lacks, for the head of the report. */
export function setUp({ cores, wrk, upstreams }: Bench): string[] {
  return [
    cores.why
      ? `cores: not pinned (${cores.why}); the sides disturb each other and the ratios are rough`
      : `cores: proxy on ${cores.proxy}, load and upstream on ${cores.load}`,
    upstreams.answersBy === "nginx" ? "upstream: nginx for whole answers, Node for streams" : "upstream: Node for all (nginx is not installed): it limits the fast peers",
    wrk ? "load: wrk for whole answers, Node for paced requests and streams" : "load: Node for all (wrk is not installed): it limits the fast peers",
  ];
}
