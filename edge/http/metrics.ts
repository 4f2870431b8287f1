import { authenticate } from "../auth/auth.ts";
import { nearestHub } from "../view.ts";
import { requestIdOf, viewOf, type RouterRequest } from "./context.ts";

/** GET /metrics: what the nearest Hub says of the whole fleet. An isolate has no numbers worth scraping: it is one of many. */
export async function metrics(c: RouterRequest): Promise<Response> {
  if (c.env.FAIRLEAD_LOCAL !== "1") await authenticate(c.env, c.req.raw, await viewOf(c), "metrics");
  const { text, contentType } = await nearestHub(c.env, c.req.raw).metrics();
  return new Response(text, { headers: { "content-type": contentType, "x-request-id": requestIdOf(c) } });
}
