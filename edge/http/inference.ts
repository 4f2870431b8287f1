import type { RouteKey, RouteService } from "../../schema/bundle.ts";
import { FairleadError } from "../../schema/errors.ts";
import { authenticate, mayCall } from "../auth/auth.ts";
import { isPoison } from "../quarantine.ts";
import { readInference, requestFacts, type InferenceRequest } from "../route/request.ts";
import { journey } from "../telemetry/telemetry.ts";
import { newsFor, viewAfterFailure, type View } from "../view.ts";
import { readBody } from "./body.ts";
import { requestIdOf, viewOf, type RouterRequest } from "./context.ts";
import { decide, nowhere, versionsOf } from "./decide.ts";
import { shownName } from "./names.ts";
import { Serving, type Asked, type Unserved } from "./serving.ts";

/** The largest body before the service is known (facts/failures.md §2: 20 MiB multimodal). */
const bodyBytesMax = 20 * 1024 * 1024;

/** Chat, completions and embeddings: authenticate, read, route, forward. */
export async function inference(c: RouterRequest): Promise<Response> {
  const request = c.req.raw;
  const startedAt = Date.now();
  const requestId = requestIdOf(c);

  // nothing is waited for that is here: a turn of the event loop costs more than what is done in it
  const here = viewOf(c);
  let view = here instanceof Promise ? await here : here;
  const known = authenticate(c.env, request, view, "inference");
  const key = known instanceof Promise ? await known : known;
  const { text = "", byteLength } = await readBody(request, bodyBytesMax);
  const { model, stream, body } = asked(request, text, byteLength);
  const question: Asked = { requestId, startedAt, account: key.account, text, byteLength, model, stream, body };

  let service = view.routes.byModel.get(model);
  if (service === undefined) {
    view = await newsFor(c.env, request, view);
    service = view.routes.byModel.get(model);
  }
  const answer = await serve(c, key, question, view, service);
  if (answer instanceof Response) return answer;
  // where its service is no more: whoever has the model now, and nobody after that
  const news = await viewAfterFailure(c.env, request, view, startedAt);
  if (news.routes.byName.has(answer.service)) return answer.respond();
  const second = await serve(c, key, question, news, news.routes.byModel.get(model));
  return second instanceof Response ? second : second.respond();
}

/** What a body asks for. @throws FairleadError that says why it cannot be read, where more of that is known than its bytes tell */
function asked(request: Request, text: string, byteLength: number): InferenceRequest {
  try {
    return readInference(text);
  } catch (error) {
    const encoding = request.headers.get("content-encoding");
    if (byteLength === 0) throw new FairleadError("invalid_json", "Cannot read the request body: it is empty");
    if (encoding !== null && encoding !== "identity") throw new FairleadError("invalid_json", `Cannot read the request body: it is encoded as ${shownName(encoding)}; send JSON as it is`);
    throw error;
  }
}

/** The answer of one service. */
async function serve(c: RouterRequest, key: RouteKey, question: Asked, view: View, service: RouteService | undefined): Promise<Response | Unserved> {
  const { startedAt, account, text, byteLength, model, body } = question;
  // a model that the key may not call looks like one that is not there
  if (service === undefined || !mayCall(key, service)) throw new FairleadError("model_not_found", `Cannot route model "${shownName(model)}": there is no such model, or this key may not use it`, { param: "model" });
  if (byteLength > service.bodyBytesMax) throw new FairleadError("body_too_large", `Cannot accept the request: its body is ${byteLength} bytes, "${service.name}" takes ${service.bodyBytesMax}`);
  const seen = journey(service, startedAt, versionsOf(view, service));
  const facts = requestFacts(body, byteLength, account, service.selfHosted ? (c.req.raw.headers.get("x-session-id") ?? undefined) : undefined);
  const poison = isPoison(view, service, account, text);
  const decision = poison === undefined ? await decide(c, view, service, facts) : nowhere(service, poison);
  return new Serving({ c, asked: question, service, facts, seen }, decision).answer(view);
}
