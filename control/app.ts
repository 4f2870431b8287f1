import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { FairleadError, errorResponse } from "../schema/errors.ts";
import { requireAdmin } from "./auth.ts";
import { bodyBytesMax } from "./body.ts";
import type { Context } from "./context.ts";
import { isAway } from "./db.ts";
import { enrolRoutes } from "./routes/enrol.ts";
import { explainRoutes } from "./routes/explain.ts";
import { hostRoutes } from "./routes/hosts.ts";
import { keyRoutes } from "./routes/keys.ts";
import { hostLogRoutes, logRoutes } from "./routes/logs.ts";
import { replicaRoutes } from "./routes/replicas.ts";
import { serviceRoutes } from "./routes/services.ts";
import { statusRoutes } from "./routes/status.ts";
import { validateRoutes } from "./routes/validate.ts";

/** The control API: what people change, and what they ask. Never on a request's path. */
export function createApp(context: Context): Hono {
  const app = new Hono();

  app.use(async (c, next) => {
    await next();
    c.res.headers.set("cache-control", "no-store");
  });
  app.use(
    bodyLimit({
      maxSize: bodyBytesMax,
      onError: () => {
        throw new FairleadError("body_too_large", `Cannot read the request: its body is over ${bodyBytesMax} bytes`);
      },
    }),
  );

  app.get("/healthz", (c) => c.json({ status: "ok" }));
  // an agent proves itself with its join token
  app.route("/v1/enrol", enrolRoutes(context));

  app.use("/v1/*", requireAdmin(context));
  app.route("/v1/services", serviceRoutes(context));
  app.route("/v1/services", replicaRoutes(context));
  app.route("/v1/services", logRoutes(context));
  app.route("/v1/status", statusRoutes(context));
  app.route("/v1/explain", explainRoutes(context));
  app.route("/v1/keys", keyRoutes(context));
  app.route("/v1/hosts", hostRoutes(context));
  app.route("/v1/hosts", hostLogRoutes(context));
  app.route("/v1/validate", validateRoutes());

  app.notFound((c) => errorResponse(new FairleadError("not_found", `Cannot ${c.req.method} ${c.req.path}: there is no such path`)));
  app.onError((error, c) => {
    if (error instanceof FairleadError) return errorResponse(error);
    context.log(`control: ${c.req.method} ${c.req.path} failed: ${error.stack ?? error.message}`);
    if (isAway(error)) return errorResponse(new FairleadError("not_ready", `Cannot answer ${c.req.method} ${c.req.path}: the database is not to be had`, { retryAfterMs: 1_000 }));
    return errorResponse(new FairleadError("internal", `Cannot answer ${c.req.method} ${c.req.path}: control failed; its log says why`));
  });
  return app;
}
