import { Hono } from "hono";
import { FairleadError, errorResponse } from "../schema/errors.ts";
import { inference } from "./http/inference.ts";
import { internal } from "./http/internal.ts";
import { metrics } from "./http/metrics.ts";
import { listModels, showModel } from "./http/models.ts";
import { service } from "./http/service.ts";
import { unknownPath } from "./http/unknownPath.ts";
import { getView } from "./view.ts";
import { tellSoon } from "./decisions.ts";
import { sawRefused } from "./telemetry/telemetry.ts";
import { requestIdOf, type RouterContext, type RouterRequest } from "./http/context.ts";

/** The paths that carry the load; `router.ts` takes them without asking Hono. */
export const inferencePaths: ReadonlySet<string> = new Set(["/v1/chat/completions", "/v1/completions", "/v1/embeddings"]);

export const app = new Hono<RouterContext>();

for (const path of inferencePaths) app.post(path, inference);
app.get("/v1/models", listModels);
app.get("/v1/models/*", showModel);
app.all("/s/:name", service);
app.all("/s/:name/*", service);

app.get("/healthz", (c) => c.json({ ok: true }, 200, { "x-request-id": requestIdOf(c) }));
app.get("/readyz", async (c) => {
  const view = await getView(c.env, c.req.raw, (work) => c.executionCtx.waitUntil(work));
  const ready = view !== undefined && view.routes.version > 0;
  return c.json({ ready, bundleVersion: view?.routes.version ?? 0 }, ready ? 200 : 503, { "x-request-id": requestIdOf(c) });
});
app.get("/metrics", metrics);
app.route("/internal", internal);


app.notFound((c) => {
  const { error, allow } = unknownPath(c.req.method, c.req.path);
  return errorResponse(error, { "x-request-id": requestIdOf(c), ...(allow === undefined ? {} : { allow }) });
});

/** The workerd binary lets a request through whose Host is none, and of which no URL can be made; Cloudflare does not. */
function unforeseen(error: unknown, { req }: RouterRequest): FairleadError {
  if (!URL.canParse(req.raw.url)) return new FairleadError("invalid_request", "Cannot read the request: its Host header names no host");
  return new FairleadError("internal", "Cannot serve the request: internal error", { cause: error });
}

/** The one place that says an error. */
export function answerError(error: unknown, c: RouterRequest, bundleVersion: string | null = null): Response {
  const known = error instanceof FairleadError ? error : unforeseen(error, c);
  // 499 is for the log only: nobody is there to read it
  if (known.code === "internal") console.error(JSON.stringify({ message: "internal error", requestId: requestIdOf(c), path: c.req.path, error: String(error), stack: error instanceof Error ? error.stack : undefined }));
  if (/^\/(?:v1|s)\//.test(c.req.path)) {
    sawRefused(known.status);
    tellSoon(c.env, c.req.raw, (work) => c.executionCtx.waitUntil(work), Date.now());
  }
  return errorResponse(known, { "x-request-id": requestIdOf(c), ...(bundleVersion === null ? {} : { "x-fairlead-bundle-version": bundleVersion }) });
}

app.onError((error, c) => answerError(error, c, c.res.headers.get("x-fairlead-bundle-version")));
