import { FairleadError } from "../../schema/errors.ts";
import type { RouteService } from "../../schema/bundle.ts";
import { authenticate, mayCall } from "../auth/auth.ts";
import { requestIdOf, viewOf, type RouterRequest } from "./context.ts";
import { nameIn, shownName } from "./names.ts";

function entry(model: string, service: RouteService): { id: string; object: "model"; created: number; owned_by: string } {
  return { id: model, object: "model", created: Math.floor(service.createdAt / 1000), owned_by: "fairlead" };
}

/** GET /v1/models: what this key may call. */
export async function listModels(c: RouterRequest): Promise<Response> {
  const view = await viewOf(c);
  const key = await authenticate(c.env, c.req.raw, view, "inference");
  const models = [...view.routes.byModel].filter(([, service]) => service.listed && mayCall(key, service));
  return Response.json({ object: "list", data: models.map(([model, service]) => entry(model, service)) }, { headers: { "x-request-id": requestIdOf(c) } });
}

/** GET /v1/models/ID; an id may hold slashes, as Hugging Face's do. */
export async function showModel(c: RouterRequest): Promise<Response> {
  const view = await viewOf(c);
  const key = await authenticate(c.env, c.req.raw, view, "inference");
  const model = nameIn(c.req.path.slice("/v1/models/".length));
  const service = view.routes.byModel.get(model);
  if (service === undefined || !service.listed || !mayCall(key, service)) throw new FairleadError("model_not_found", `Cannot show model "${shownName(model)}": there is no such model, or this key may not use it`, { param: "model" });
  return Response.json(entry(model, service), { headers: { "x-request-id": requestIdOf(c) } });
}
