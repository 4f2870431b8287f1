import router from "../../edge/router.ts";
import fleet from "../../edge/fleet.ts";
import type { FleetEnv, RouterEnv } from "../../edge/env.ts";

export { Hub, Relay, Scaler } from "../../edge/fleet.ts";

/** Both Workers behind one door: agents' paths go to the fleet, the rest to the router. */
export default {
  fetch(request: Request, env: FleetEnv & RouterEnv, ctx: ExecutionContext): Response | Promise<Response> {
    return new URL(request.url).pathname.startsWith("/agents/") ? fleet.fetch(request, env) : router.fetch(request, env, ctx);
  },
};
