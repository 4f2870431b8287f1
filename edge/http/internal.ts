import { Hono } from "hono";
import { bundleBytesMax, bundleSchema } from "../../schema/bundle.ts";
import { FairleadError } from "../../schema/errors.ts";
import { readBody } from "./body.ts";
import { carriageHeader } from "../forward/outcome.ts";
import { regionsOf } from "../regions.ts";
import { requestIdOf, type RouterContext } from "./context.ts";

const encoder = new TextEncoder();

/** Equal, in a time that says nothing about where two texts differ. */
async function sameSecret(a: string, b: string): Promise<boolean> {
  const [x, y] = await Promise.all([a, b].map((text) => crypto.subtle.digest("SHA-256", encoder.encode(text))));
  return x !== undefined && y !== undefined && crypto.subtle.timingSafeEqual(x, y);
}

/** What only control calls: publishing, status, logs. */
export const internal = new Hono<RouterContext>();

internal.use(async (c, next) => {
  const shown = /^Bearer (.+)$/i.exec(c.req.header("authorization") ?? "")?.[1] ?? "";
  if (!(await sameSecret(shown, c.env.FAIRLEAD_CONTROL_TOKEN))) throw new FairleadError("invalid_api_key", "Cannot authenticate control: the token is missing or wrong");
  await next();
});

/** A new bundle: checked whole before anything of it is used, so that a bad one leaves the last good one in place everywhere. */
internal.put("/bundle", async (c) => {
  const bytes = await readBody(c.req.raw, bundleBytesMax);
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes));
  } catch {
    throw new FairleadError("invalid_json", "Cannot publish the bundle: it is not valid JSON in UTF-8");
  }
  const parsed = bundleSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new FairleadError("invalid_bundle", `Cannot publish the bundle: ${issue?.path.join(".") ?? "it"}: ${issue?.message ?? "is invalid"}`, { param: issue?.path.join(".") ?? null });
  }
  const bundle = parsed.data;
  const answers = await Promise.all(regionsOf(c.env).map((region) => c.env.HUB.getByName(region).publish(bundle)));
  const newest = Math.max(...answers.map(({ version }) => version));
  if (newest > bundle.route.version) {
    c.header("x-fairlead-bundle-version", String(newest));
    throw new FairleadError("stale_bundle", `Cannot publish bundle ${bundle.route.version}: version ${newest} is in use`);
  }
  await c.env.CONFIG.put("bundle", JSON.stringify(bundle.route));
  return c.json({ version: bundle.route.version });
});

internal.get("/status", async (c) => {
  const regions = await Promise.all(regionsOf(c.env).map((region) => c.env.HUB.getByName(region).status()));
  return c.json({ regions });
});

/** A replica's log, as its agent streams it over a relay. */
internal.get("/logs/:host/:replica", async (c) => {
  const { host, replica } = c.req.param();
  const headers = { "x-fairlead-target": "agent", "x-fairlead-request": requestIdOf(c) };
  const query = new URL(c.req.url).search;
  for (const relay of [0, 1]) {
    const response = await c.env.RELAY.getByName(`${host}/${relay}`).fetch(`http://carry/logs/${encodeURIComponent(replica)}${query}`, { headers, signal: c.req.raw.signal });
    if (!response.headers.has(carriageHeader)) return new Response(response.body, { status: response.status, headers: { "content-type": "text/plain; charset=utf-8" } });
  }
  throw new FairleadError("no_replica", `Cannot read the log of ${replica}: its host ${host} is not connected`);
});
