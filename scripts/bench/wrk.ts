import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { output } from "./children.ts";
import { requestBody } from "./exchange.ts";
import type { ClosedJob, ClosedResult } from "./load-closed.ts";

const long = (text: string) => `[==[${text}]==]`;

/** The request, and a summary as one JSON line: wrk's own text rounds to three digits. Latencies are in µs there. */
function script(job: ClosedJob): string {
  const headers = Object.entries({ ...job.headers, "content-type": "application/json" });
  return `wrk.method = "POST"
wrk.body = ${long(requestBody({ stream: false }))}
${headers.map(([name, value]) => `wrk.headers[ ${long(name)} ] = ${long(value)}`).join("\n")}
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('\\nRESULT {"requests":%d,"errors":%d,"durationMs":%.3f,"p50Ms":%.4f,"p99Ms":%.4f}\\n',
    summary.requests - e.status, e.connect + e.read + e.write + e.status + e.timeout,
    summary.duration / 1000, latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
`;
}

/** The closed loop by wrk (Debian package): a tenth of the CPU of a generator in Node, so the proxy is the limit and not the load. */
export async function runWrk(wrk: string, job: ClosedJob & { seconds: number }, { workDir, cpu }: { workDir: string; cpu?: number | undefined }): Promise<ClosedResult> {
  const file = join(workDir, "wrk.lua");
  writeFileSync(file, script(job));
  const command = [wrk, "-t1", `-c${job.connections}`, `-d${Math.ceil(job.seconds)}s`, "--timeout", "20s", "--latency", "-s", file, job.url];
  const { code, stdout, stderr } = await output(command, { cpu, timeoutMs: (job.seconds + 40) * 1_000 });
  const result = /^RESULT (.*)$/m.exec(stdout)?.[1];
  if (code !== 0 || !result) throw new Error(`wrk ended with ${code}: ${stderr.trim() || stdout.trim().slice(-300)}`);
  return JSON.parse(result.replaceAll("nan", "0")) as ClosedResult;
}
