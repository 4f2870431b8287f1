import { setTimeout as sleep } from "node:timers/promises";
import type { PutService } from "../../schema/api.ts";
import type { RolloutPolicy } from "../../schema/policy.ts";
import { parseService } from "../../schema/service.ts";
import type { ServiceSpec } from "../../schema/serviceSpec.ts";
import { formatDuration, parseDuration } from "../../schema/units.ts";
import type { StatusAnswer } from "../routes/status.ts";
import { confirm } from "./ask.ts";
import { describeChanges } from "./changes.ts";
import type { Client } from "./client.ts";
import { Failure } from "./failure.ts";
import { lookAgain } from "./lookAgain.ts";
import { startProgress } from "./progress.ts";
import { watchRollout, type Goal } from "./rolloutWatch.ts";
import { showProblems, withWholeWorkdir } from "./serviceFile.ts";
import { readSignKey, signService } from "./signing.ts";
import { readText } from "./textFile.ts";
import { gatherValues, type ValueFlags } from "./values.ts";

/** Between two looks at a service that is starting, in ms. */
const lookEveryMs = 500;

export interface ApplyOptions extends ValueFlags {
  yes?: boolean;
  async?: boolean;
  timeout: string;
  signKey?: string;
  signVersion?: number;
  mode?: RolloutPolicy["mode"];
}

interface PutAnswer {
  name: string;
  version: number;
  created: boolean;
  changed: boolean;
  replaces: boolean;
  desired: number;
  /** How this version takes the place of the one before. */
  mode?: RolloutPolicy["mode"];
  published: boolean;
  refused?: boolean;
  reason?: string;
}

/** Create or update a service from a file and see it through: what `up` and `update` share. */
export async function applyFile(client: Client, file: string, name: string | undefined, options: ApplyOptions, { mustExist = false } = {}): Promise<void> {
  const timeoutMs = parseDuration(options.timeout);
  if (timeoutMs === undefined) throw new Failure(`Cannot use --timeout ${options.timeout}: write a duration such as 90s or 20m`, 2);
  const text = withWholeWorkdir(await readText(file), process.cwd());
  const values = await gatherValues(text, options, process.env);
  const signKey = await readSignKey(options.signKey ?? process.env["FAIRLEAD_SIGN_KEY"]);
  const { service: read, secrets, problems } = parseService(text, { name, file, ...values, purpose: "up" });
  const errors = showProblems(problems, file);
  if (read === undefined) throw new Failure(`Cannot use ${file}: ${errors} error${errors === 1 ? "" : "s"}`);

  const { mode } = options;
  const spec: ServiceSpec = mode === undefined || read.rollout === undefined ? read : { ...read, rollout: { ...read.rollout, mode } };
  const path = `/v1/services/${encodeURIComponent(spec.name)}`;
  const before = await client.find<{ spec: ServiceSpec }>(path);
  if (mustExist && before === undefined) throw new Failure(`Cannot update service "${spec.name}": there is no such service; fairlead up creates it`);
  for (const line of describeChanges(spec.name, before?.spec, spec)) console.error(line);
  await confirm("Go on?", options.yes);
  const signed = signKey === undefined || secrets === undefined ? undefined : await signService(client, signKey, spec, secrets, options.signVersion);
  const answer = await client.call<PutAnswer>("PUT", path, { yaml: text, ...values, ...(mode === undefined ? {} : { mode }), ...(signed === undefined ? {} : { signed }) } satisfies PutService);
  if (answer.refused === true) throw new Failure(`${answer.reason ?? "Cannot publish the configuration: the edge refuses it"}. Version ${answer.version} of ${spec.name} is kept, and the edge goes on with what it had`);
  if (!answer.published) console.error(`The change is kept, and has not reached the edge yet: ${answer.reason ?? "it does not answer"}`);
  const version = `version ${answer.version}`;
  console.error(answer.created ? `Created ${spec.name}, ${version}.` : answer.changed ? `Updated ${spec.name} to ${version}.` : `${spec.name} is unchanged at ${version}.`);
  // hosts that refused it before it was signed have said so of the version before
  if (options.async !== true) await waitReady(client, { service: spec.name, version: answer.version, desired: answer.desired, anyVersion: !answer.created && !answer.replaces && signed === undefined }, timeoutMs);
  await showEndpoint(client, spec);
}

async function waitReady(client: Client, goal: Goal, timeoutMs: number): Promise<void> {
  const look = watchRollout(goal);
  const progress = await startProgress();
  const started = performance.now();
  try {
    for (;;) {
      const status = await lookAgain(() => client.call<StatusAnswer>("GET", `/v1/status?services=${encodeURIComponent(goal.service)}`), progress);
      const seen = status === undefined ? undefined : look(status);
      const outcome = seen?.outcome;
      for (const line of seen?.lines ?? []) progress.note(line);
      if (outcome?.kind === "ready") return;
      if (outcome?.kind === "failed") {
        progress.stop();
        const { replica, reason } = outcome;
        if (replica === undefined) throw new Failure(`Cannot bring ${goal.service} to version ${goal.version}: ${reason}`);
        await showLastLog(client, goal.service, replica.id);
        // what its Scaler says of the version says more than one replica does
        throw new Failure(reason.startsWith(replica.id) ? `Cannot start replica ${replica.id}: ${replica.reason ?? "it failed"}` : `Cannot bring ${goal.service} to version ${goal.version}: ${reason}`);
      }
      if (performance.now() - started > timeoutMs) throw new Failure(`Cannot wait longer than ${formatDuration(timeoutMs)} for ${goal.service}: it goes on starting; see fairlead status ${goal.service}`);
      if (seen !== undefined) progress.waiting(seen.waiting);
      await sleep(lookEveryMs);
    }
  } finally {
    progress.stop();
  }
}

/** What the replica last printed: most often the reason itself. A log that cannot be had is no error of its own. */
async function showLastLog(client: Client, service: string, replica: string): Promise<void> {
  const stream = await client.stream(`/v1/services/${encodeURIComponent(service)}/logs?replica=${encodeURIComponent(replica)}&tail=20`, AbortSignal.timeout(5_000)).catch(() => undefined);
  const text = stream === undefined ? "" : await new Response(stream).text().catch(() => "");
  if (text.trim() !== "") console.error(`The last lines of ${replica}:\n${text.trimEnd().replaceAll(/^/gm, "  ")}`);
}

async function showEndpoint(client: Client, spec: ServiceSpec): Promise<void> {
  const { services } = await client.call<StatusAnswer>("GET", `/v1/status?services=${encodeURIComponent(spec.name)}`);
  const endpoint = services[0]?.endpoint;
  if (endpoint === undefined) return;
  console.log(`Endpoint: ${endpoint}`);
  const key = '-H "authorization: Bearer $FAIRLEAD_API_KEY"';
  if (endpoint.endsWith("/v1")) {
    const body = JSON.stringify({ model: spec.models[0], messages: [{ role: "user", content: "Hello" }], stream: true });
    console.log(`Try it:   curl -N ${endpoint}/chat/completions ${key} -H "content-type: application/json" -d '${body.replaceAll("'", "'\\''")}'`);
  } else console.log(`Try it:   curl ${endpoint} ${key}`);
  console.log("A key:    fairlead keys create NAME");
}
