import { answerError, app, inferencePaths } from "./app.ts";
import type { RouterEnv } from "./env.ts";
import type { RouterRequest } from "./http/context.ts";
import { inference } from "./http/inference.ts";

/** The path of a URL, without a parse of the whole. */
function pathOf(url: string): string {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  const query = url.indexOf("?", start);
  return query === -1 ? url.slice(start) : url.slice(start, query);
}

/** A request on one of the paths that carry the load: what handlers need, and nothing else. */
class InferenceRequest implements RouterRequest {
  readonly req: RouterRequest["req"];
  readonly env: RouterEnv;
  readonly executionCtx: ExecutionContext;
  #requestId: string | undefined;

  constructor(raw: Request, path: string, env: RouterEnv, executionCtx: ExecutionContext) {
    this.req = { raw, path };
    this.env = env;
    this.executionCtx = executionCtx;
  }

  get(): string | undefined {
    return this.#requestId;
  }

  set(_name: "requestId", value: string): void {
    this.#requestId = value;
  }
}

/** The router Worker: stateless, in every city. */
export default {
  async fetch(request: Request, env: RouterEnv, ctx: ExecutionContext): Promise<Response> {
    const path = pathOf(request.url);
    if (request.method !== "POST" || !inferencePaths.has(path)) return app.fetch(request, env, ctx);
    const c = new InferenceRequest(request, path, env, ctx);
    try {
      return await inference(c);
    } catch (error) {
      return answerError(error, c);
    }
  },
};
