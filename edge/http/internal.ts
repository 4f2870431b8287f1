import { Hono, type Context } from "hono";
import { z } from "zod";
import { bundleBytesMax, bundleSchema } from "../../schema/bundle.ts";
import { dryRunSchema, type DryRunAnswer, type Recalled } from "../../schema/decision.ts";
import { FairleadError } from "../../schema/errors.ts";
import type { Region } from "../../schema/region.ts";
import { toldKinds } from "../../schema/told.ts";
import { weighed } from "../decisions.ts";
import type { RouterEnv } from "../env.ts";
import { carriageHeader, carryOrigin } from "../forward/outcome.ts";
import { refusedAddress } from "../provider/address.ts";
import { regionsOf } from "../regions.ts";
import { requestFacts } from "../route/request.ts";
import { newsFor } from "../view.ts";
import { readBody } from "./body.ts";
import { requestIdOf, viewOf, type RouterContext } from "./context.ts";
import { redecide } from "./decide.ts";
import { toldLines } from "./told.ts";

/** A request to be weighed and not sent: a prompt of usual size, and some. */
const dryRunBytesMax = 4 * 1024 * 1024;

const encoder = new TextEncoder();

/** Equal, in a time that says nothing about where two texts differ. */
async function sameSecret(a: string, b: string): Promise<boolean> {
  const [x, y] = await Promise.all([a, b].map((text) => crypto.subtle.digest("SHA-256", encoder.encode(text))));
  return x !== undefined && y !== undefined && crypto.subtle.timingSafeEqual(x, y);
}

const endpointsSchema = z.object({ endpoints: z.array(z.string()).max(10_000) });

/** The JSON body of one of control's calls. */
async function readJson(request: Request, bytesMax: number, action: string): Promise<unknown> {
  const { text } = await readBody(request, bytesMax);
  try {
    // what is no UTF-8 is no JSON either
    return JSON.parse(text ?? "");
  } catch {
    throw new FairleadError("invalid_json", `Cannot ${action}: the body is not valid JSON in UTF-8`);
  }
}

/** Why this edge does not call an endpoint; undefined when it does. */
function refusal(env: RouterEnv, endpoint: string): string | undefined {
  const allowed = (env.FAIRLEAD_ALLOWED_ENDPOINTS ?? "").split(",").map((entry) => entry.trim()).filter((entry) => entry !== "");
  return refusedAddress(endpoint, { local: env.FAIRLEAD_LOCAL === "1", allowed });
}

/** What only control calls: publishing, status, logs, explanations. */
export const internal = new Hono<RouterContext>();

internal.use(async (c, next) => {
  const shown = /^Bearer (.+)$/i.exec(c.req.header("authorization") ?? "")?.[1] ?? "";
  if (!(await sameSecret(shown, c.env.FAIRLEAD_CONTROL_TOKEN))) throw new FairleadError("invalid_api_key", "Cannot authenticate control: the token is missing or wrong");
  await next();
});

/** A new bundle: checked whole before anything of it is used, so that a bad one leaves the last good one in place everywhere. */
internal.put("/bundle", async (c) => {
  const json = await readJson(c.req.raw, bundleBytesMax, "publish the bundle");
  const parsed = bundleSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new FairleadError("invalid_bundle", `Cannot publish the bundle: ${issue?.path.join(".") ?? "it"}: ${issue?.message ?? "is invalid"}`, { param: issue?.path.join(".") ?? null });
  }
  const bundle = parsed.data;
  for (const { name, providers } of bundle.route.services) {
    for (const provider of providers) {
      const reason = refusal(c.env, provider.endpoint);
      if (reason !== undefined) throw new FairleadError("invalid_bundle", `Cannot publish the bundle: provider "${provider.name}" of service "${name}" has an endpoint that is not called: ${reason}`, { param: "endpoint" });
    }
  }
  const answers = await Promise.all(regionsOf(c.env).map((region) => c.env.HUB.getByName(region).publish(bundle)));
  const newest = Math.max(...answers.map(({ version }) => version));
  if (newest > bundle.route.version) {
    c.header("x-fairlead-bundle-version", String(newest));
    throw new FairleadError("stale_bundle", `Cannot publish bundle ${bundle.route.version}: version ${newest} is in use`);
  }
  await c.env.CONFIG.put("bundle", JSON.stringify(bundle.route));
  return c.json({ version: bundle.route.version });
});

/** Which endpoints this edge would not call, and why: asked before a service is stored. */
internal.post("/endpoints", async (c) => {
  const parsed = endpointsSchema.safeParse(await readJson(c.req.raw, bundleBytesMax, "check endpoints"));
  if (!parsed.success) throw new FairleadError("invalid_request", "Cannot check endpoints: endpoints must be a list of texts", { param: "endpoints" });
  const reasons = parsed.data.endpoints.map((endpoint) => refusal(c.env, endpoint) ?? null);
  return c.json({ reasons });
});

internal.get("/status", async (c) => {
  const regions = await Promise.all(regionsOf(c.env).map((region) => c.env.HUB.getByName(region).status()));
  return c.json({ regions });
});

/** What an agent says of itself or of a replica, as it streams it over a relay. */
async function fromAgent(c: Context<RouterContext>, host: string, path: string, what: string): Promise<Response> {
  const headers = { "x-fairlead-target": "agent", "x-fairlead-request": requestIdOf(c) };
  const query = new URL(c.req.url).search;
  for (const relay of [0, 1]) {
    // the object itself may be lost, which is no word against the other one
    const response = await c.env.RELAY.getByName(`${host}/${relay}`).fetch(`${carryOrigin}${path}${query}`, { headers, signal: c.req.raw.signal }).catch(() => undefined);
    if (response?.headers.has(carriageHeader) === false) return new Response(response.body, { status: response.status, headers: { "content-type": "text/plain; charset=utf-8" } });
  }
  throw new FairleadError("no_replica", `Cannot read the log of ${what}: its host ${host} is not connected`);
}

internal.get("/logs/:host/:replica", (c) => fromAgent(c, c.req.param("host"), `/logs/${encodeURIComponent(c.req.param("replica"))}`, c.req.param("replica")));
internal.get("/logs/:host", (c) => fromAgent(c, c.req.param("host"), "/log", "the agent"));

const toldSchema = z.object({ kind: z.enum(toldKinds), after: z.string().max(2_000).default(""), tail: z.coerce.number<string>().int().min(0).max(10_000).default(200) });

/** What Hubs remember of a service: its requests, or what they decided about it. */
internal.get("/told/:service", async (c) => {
  const parsed = toldSchema.safeParse(c.req.query());
  if (!parsed.success) throw new FairleadError("invalid_request", `Cannot show what hubs remember: ${parsed.error.issues[0]?.path.join(".") ?? "it"}: ${parsed.error.issues[0]?.message ?? "is invalid"}`);
  const { kind, after, tail } = parsed.data;
  return c.json(await toldLines(c.env, kind, c.req.param("service"), after, tail));
});

/** What became of a request: whichever Hub was told of it. */
internal.get("/explain/:requestId", async (c) => {
  const requestId = c.req.param("requestId").slice(0, 200);
  const regions = regionsOf(c.env);
  const answers = await Promise.allSettled(regions.map(async (region) => ({ region, recalled: (await c.env.HUB.getByName(region).explain(requestId)) as Recalled })));
  const heard = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
  const decision = heard.find(({ recalled }) => recalled.decision !== undefined)?.recalled.decision;
  if (decision !== undefined) return c.json(decision);
  const silent = regions.filter((region) => !heard.some((one) => one.region === region));
  if (heard.length === 0) throw new FairleadError("not_ready", `Cannot explain request "${requestId}": the hub of ${silent.join(", ")} does not answer`);
  throw new FairleadError("not_found", `Cannot explain request "${requestId}": ${forgotten(heard, silent)}`, { param: "requestId" });
});

/** Where a request was looked for, and why it may not be found. */
function forgotten(heard: readonly { region: Region; recalled: Recalled }[], silent: readonly Region[]): string {
  const hubs = heard.map(({ region, recalled: { kept, keptMax, since } }) => `${region} remembers ${kept === keptMax ? `the latest ${kept}` : `${kept} since ${new Date(since).toISOString()}`}`);
  return ["no hub remembers it", ...hubs, ...silent.map((region) => `${region} does not answer`)].join("; ");
}

/** What would become of a request now, as this isolate sees the fleet. Nothing is sent. */
internal.post("/explain", async (c) => {
  const parsed = dryRunSchema.safeParse(await readJson(c.req.raw, dryRunBytesMax, "weigh the request"));
  if (!parsed.success) throw new FairleadError("invalid_request", `Cannot weigh the request: ${parsed.error.issues[0]?.path.join(".") ?? "it"}: ${parsed.error.issues[0]?.message ?? "is invalid"}`, { param: parsed.error.issues[0]?.path.join(".") ?? null });
  const { body, account } = parsed.data;
  const model = parsed.data.model ?? body["model"];
  if (typeof model !== "string" || model === "") throw new FairleadError("invalid_request", 'Cannot weigh the request: "model" is missing or is not text', { param: "model" });
  const view = await newsFor(c.env, c.req.raw, await viewOf(c));
  const service = view.routes.byModel.get(model) ?? view.routes.byName.get(model);
  if (service === undefined) throw new FairleadError("model_not_found", `Cannot weigh the request: there is no model "${model}"`, { param: "model" });
  const facts = requestFacts({ ...body, model }, encoder.encode(JSON.stringify(body)).byteLength, account);
  const decision = await redecide(c, view, service, facts);
  return c.json({ service: service.name, model, account, ...weighed(decision) } satisfies DryRunAnswer);
});
