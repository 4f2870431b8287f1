import { withMembers, type Change } from "./members.ts";
import { isEngineField, type Vendor } from "./vendors.ts";

/** A null there has a meaning of its own (no limit), or is the caller's mistake to be told of. */
const nullMeans = new Set(["model", "messages", "prompt", "input", "max_tokens", "max_completion_tokens"]);

/** Optional fields whose empty value engines refuse. */
const emptyRefused = new Set(["tools", "functions", "tool_choice", "function_call", "stop", "encoding_format", "response_format", "suffix", "user"]);

function isEmpty(value: unknown): boolean {
  if (value === "") return true;
  return typeof value === "object" && value !== null && Object.keys(value).length === 0;
}

/**
 * What a typed engine must not be sent: vLLM refuses explicit nulls such as `encoding_format: null`, and empty optional values
 * (facts/openai-wire.md section 13).
 */
export function untypedChanges(parsed: Record<string, unknown>): Map<string, Change> {
  const changes = new Map<string, Change>();
  for (const name in parsed) {
    const value = parsed[name];
    if (value === null ? !nullMeans.has(name) : emptyRefused.has(name) && isEmpty(value)) changes.set(name, "dropped");
  }
  // a choice among no tools is refused, too
  if (changes.has("tools")) for (const name of ["tool_choice", "parallel_tool_calls"]) if (name in parsed) changes.set(name, "dropped");
  return changes;
}

/** What has to change in a request before a vendor takes it. */
export function vendorChanges(vendor: Vendor, path: string, parsed: Record<string, unknown>): Map<string, Change> {
  const changes = vendor.typed === true ? untypedChanges(parsed) : new Map<string, Change>();
  for (const name in parsed) {
    const unknown = vendor.strictBut !== undefined && isEngineField(name) && !vendor.strictBut.includes(name);
    if (unknown || vendor.refuses?.includes(name) === true) changes.set(name, "dropped");
  }
  for (const [from, to] of Object.entries(vendor.renames ?? {})) {
    // text completions know the old name of the limit only
    if (to === "max_completion_tokens" && !path.startsWith("/v1/chat/")) continue;
    // who gives both means the one that the vendor knows
    if (from in parsed && !changes.has(from)) changes.set(from, to in parsed ? "dropped" : { name: to });
  }
  return changes;
}

/** The body with changes made; the same when there are none. */
export function changed(body: string, changes: ReadonlyMap<string, Change>): string {
  return changes.size === 0 ? body : withMembers(body, changes);
}
