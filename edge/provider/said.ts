import type { Said } from "./dialect.ts";

type Shape = Record<string, unknown>;

/** Longer ones are not taken apart. */
const bodyMax = 64 * 1024;
const textMax = 2_000;

function shape(value: unknown): Shape {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Shape) : {};
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

/** FastAPI's place of an error: `["body", "messages", 0, "content"]` is messages[0]. */
function placeOf(loc: unknown): string | undefined {
  const [name, index] = list(loc).filter((part) => part !== "body");
  return typeof name === "string" ? (typeof index === "number" ? `${name}[${index}]` : name) : undefined;
}

/**
 * Read an error body of any shape that OpenAI-compatible vendors use: OpenAI's and Anthropic's `{error: {…}}`, Google's array of
 * it, OpenRouter's with a moderation note, vLLM's flat `{object: "error", …}`, Mistral's with FastAPI's list inside, FastAPI's
 * `{detail}`, AWS's `{__type, message}`, `{error: "text"}`, and what is no JSON at all.
 */
export function said(body: string | undefined): Said {
  if (body === undefined || body.length > bodyMax) return { status: undefined, words: [], param: undefined, text: body?.slice(0, textMax) ?? "" };
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    return { status: undefined, words: [], param: undefined, text: body.slice(0, textMax) };
  }
  const outer = shape(Array.isArray(json) ? json[0] : json);
  const error = "error" in outer ? shape(outer["error"]) : outer;
  const message = error["message"] ?? error["detail"] ?? outer["error"] ?? outer["detail"] ?? outer["message"];
  const complaints = list(Array.isArray(message) ? message : shape(message)["detail"]).map(shape);
  const metadata = shape(error["metadata"]);
  const words = [
    error["code"], error["type"], error["status"], error["__type"], outer["error_type"], shape(error["innererror"])["code"],
    ...list(error["details"]).map((detail) => shape(detail)["reason"]),
    ...complaints.map(({ type }) => type),
    // OpenRouter's moderation
    "flagged_input" in metadata || "reasons" in metadata ? "content_filter" : undefined,
  ];
  const numbers = [error["code"], error["status"], outer["status"], outer["status_code"]].map((value) => (typeof value === "number" || (typeof value === "string" && /^\d{3}$/.test(value)) ? Number(value) : 0));
  const texts = complaints.length > 0 ? complaints.map(({ msg }) => msg) : [message];
  return {
    status: numbers.find((number) => number >= 400 && number <= 599),
    // AWS puts a namespace before its types
    words: words.filter((word) => typeof word === "string").map((word) => word.toLowerCase().replace(/^.*#/, "")),
    param: typeof error["param"] === "string" ? error["param"] : placeOf(complaints[0]?.["loc"]),
    text: texts.filter((text) => typeof text === "string").join("\n").slice(0, textMax),
  };
}
