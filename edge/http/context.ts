import { FairleadError } from "../../schema/errors.ts";
import type { RouterEnv } from "../env.ts";
import { getView, type View } from "../view.ts";

/** What a router request carries with it. */
export interface RouterContext {
  Bindings: RouterEnv;
  Variables: { requestId: string | undefined };
}

/** What a handler needs of a request: as much of Hono's context as the path that every request takes can afford. */
export interface RouterRequest {
  req: { readonly raw: Request; readonly path: string };
  env: RouterEnv;
  executionCtx: Pick<ExecutionContext, "waitUntil">;
  get(name: "requestId"): string | undefined;
  set(name: "requestId", value: string): void;
}

/** The isolate's view; a promise of it in a cold one. @throws FairleadError `not_ready` when no Hub and no copy in KV has ever answered */
export function viewOf(c: RouterRequest): View | Promise<View> {
  const view = getView(c.env, c.req.raw, (work) => c.executionCtx.waitUntil(work));
  return view instanceof Promise ? view.then(there) : view;
}

function there(known: View | undefined): View {
  if (known === undefined) throw new FairleadError("not_ready", "Cannot serve the request: the configuration has not reached this place yet", { retryAfterMs: 1_000 });
  return known;
}

/** 96 random bits per isolate and a count: as unique as a random id, at a tenth of its cost. */
let isolate = "";
let count = 0;
const countMax = 0xffffffff;

/** The request's id: made when first asked for, the same in every header and log line after that. */
export function requestIdOf(c: RouterRequest): string {
  const known = c.get("requestId");
  if (known !== undefined) return known;
  if (isolate === "" || count === countMax) {
    isolate = crypto.randomUUID().replaceAll("-", "").slice(0, 24);
    count = 0;
  }
  const id = `req_${isolate}${(count++).toString(16).padStart(8, "0")}`;
  c.set("requestId", id);
  return id;
}

/** Notes on who served it, for the caller. Never an address. */
export function servedBy(headers: Record<string, string>, requestId: string, upstream: string, attempts: number, fallback: boolean): void {
  headers["x-request-id"] = requestId;
  headers["x-fairlead-upstream"] = upstream;
  headers["x-fairlead-attempts"] = String(attempts);
  headers["x-fairlead-fallback"] = String(fallback);
}
