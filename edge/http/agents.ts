import { FairleadError, errorResponse } from "../../schema/errors.ts";
import { isRegion } from "../../schema/region.ts";
import type { FleetEnv } from "../env.ts";
import { checkTicket } from "../hub/ticket.ts";
import { regionsOf } from "../regions.ts";

function refuse(error: FairleadError): Response {
  return errorResponse(error);
}

/**
 * The door for agents' sockets. What is wrong is refused here, before a Durable Object is woken for it.
 *
 * - `/agents/link/<region>`: the control link, to the region's Hub
 * - `/agents/relay/<host>/<index>`: a data link, to its Relay, with a ticket from the Hub as Bearer
 */
export async function agents(request: Request, env: FleetEnv): Promise<Response> {
  const path = new URL(request.url).pathname;
  if (path === "/healthz") return Response.json({ ok: true });
  const [, door, kind, first = "", second = ""] = path.split("/");
  if (door !== "agents" || (kind !== "link" && kind !== "relay")) return refuse(new FairleadError("not_found", `Cannot ${request.method} ${path}: there is no such path`));
  if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") return refuse(new FairleadError("invalid_request", `Cannot open ${path}: a WebSocket upgrade is needed`));
  if (kind === "link") {
    if (!isRegion(first) || !regionsOf(env).includes(first)) return refuse(new FairleadError("not_found", `Cannot open a link in region "${first}": it is not in use here`));
    return env.HUB.getByName(first, hint(first)).fetch(request);
  }
  const relay = `${decodeURIComponent(first)}/${second}`;
  const ticket = /^Bearer (.+)$/i.exec(request.headers.get("authorization") ?? "")?.[1] ?? "";
  const epoch = await checkTicket(env.FAIRLEAD_TICKET_KEY, relay, ticket);
  if (epoch === undefined) return refuse(new FairleadError("invalid_api_key", "Cannot open a data link: the ticket is missing, expired or for another relay"));
  return env.RELAY.getByName(relay).fetch(`http://link/?epoch=${epoch}`, request);
}

/** Where a Hub is created: in its region, whoever asks first. `local` is no place of Cloudflare's. */
function hint(region: string): { locationHint: DurableObjectLocationHint } | undefined {
  return region === "local" ? undefined : { locationHint: region as DurableObjectLocationHint };
}
