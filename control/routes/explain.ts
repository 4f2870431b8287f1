import { Hono } from "hono";
import { dryRunSchema } from "../../schema/decision.ts";
import { readBody } from "../body.ts";
import type { Context } from "../context.ts";

/** Why a request went where it went, and where one would go now. */
export function explainRoutes({ edge }: Context): Hono {
  const routes = new Hono();
  routes.get("/:requestId", async (c) => c.json(await edge.explain(c.req.param("requestId"))));
  routes.post("/", async (c) => c.json(await edge.dryRun(await readBody(c, dryRunSchema))));
  return routes;
}
