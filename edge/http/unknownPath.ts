import { FairleadError } from "../../schema/errors.ts";
import { shownName } from "./names.ts";

/** What the router serves by which method; the keys end with `*` where anything may follow. */
const served: readonly { path: string; allow: string }[] = [
  { path: "/v1/chat/completions", allow: "POST" },
  { path: "/v1/completions", allow: "POST" },
  { path: "/v1/embeddings", allow: "POST" },
  { path: "/v1/models", allow: "GET, HEAD" },
  { path: "/v1/models/*", allow: "GET, HEAD" },
  { path: "/healthz", allow: "GET, HEAD" },
  { path: "/readyz", allow: "GET, HEAD" },
  { path: "/metrics", allow: "GET, HEAD" },
];

function servedAt(path: string): (typeof served)[number] | undefined {
  return served.find((one) => (one.path.endsWith("*") ? path.startsWith(one.path.slice(0, -1)) : path === one.path));
}

/** The path that was probably meant: base URLs are given with `/v1` twice or not at all, and with slashes too many. */
function meant(path: string): string | undefined {
  const parts = path.split("/").filter((part) => part !== "");
  const plain = parts[0] === "v1" && parts[1] === "v1" ? parts.slice(1) : parts;
  return [`/${plain.join("/")}`, `/v1/${plain.join("/")}`].find((candidate) => candidate !== path && servedAt(candidate) !== undefined);
}

/** What is said of a request that no handler takes, and which methods there are where the path is one. */
export function unknownPath(method: string, path: string): { error: FairleadError; allow?: string } {
  const known = servedAt(path);
  if (known !== undefined) return { error: new FairleadError("method_not_allowed", `Cannot ${method} ${path}: use ${known.allow.split(",", 1)[0]}`), allow: known.allow };
  const suggestion = meant(path);
  const hint = suggestion !== undefined ? `; did you mean ${suggestion}?` : path.startsWith("/v1/") ? "; of OpenAI's, chat/completions, completions, embeddings and models are served" : "";
  return { error: new FairleadError("not_found", `Cannot ${method} ${shownName(path)}: there is no such path${hint}`) };
}
