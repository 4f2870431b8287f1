import type { Context } from "hono";
import { FairleadError } from "../../schema/errors.ts";
import type { RouterEnv } from "../env.ts";
import { getView, type View } from "../view.ts";

/** What a router request carries with it. */
export interface RouterContext {
  Bindings: RouterEnv;
  Variables: { requestId: string };
}

export type RouterRequest = Context<RouterContext>;

/** The isolate's view. @throws FairleadError `not_ready` when no Hub and no copy in KV has ever answered */
export async function viewOf(c: RouterRequest): Promise<View> {
  const view = getView(c.env, c.req.raw, (work) => c.executionCtx.waitUntil(work));
  const known = view instanceof Promise ? await view : view;
  if (known === undefined) throw new FairleadError("not_ready", "Cannot serve the request: the configuration has not reached this place yet", { retryAfterMs: 1_000 });
  return known;
}

/** Who served it, for the caller. Never an address. */
export function servedBy(requestId: string, upstream: string, model: string | undefined, attempts: number, fallback: boolean): Record<string, string> {
  const headers: Record<string, string> = { "x-request-id": requestId, "x-fairlead-upstream": upstream, "x-fairlead-attempts": String(attempts), "x-fairlead-fallback": String(fallback) };
  if (model !== undefined) headers["x-fairlead-model"] = model;
  return headers;
}
