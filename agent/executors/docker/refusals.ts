import { StartError } from "../../executor.ts";

/** The status of an engine's answer; undefined when it gave none. */
export function statusOf(error: unknown): number | undefined {
  return error instanceof Error && "statusCode" in error && typeof error.statusCode === "number" ? error.statusCode : undefined;
}

/** Whether the engine itself could not be reached, or went away in between. */
export function isAway(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return statusOf(error) === undefined && typeof code === "string" && /^(ENOENT|ECONNREFUSED|ECONNRESET|EPIPE|EACCES|ERR_STREAM_PREMATURE_CLOSE)$/.test(code);
}

/** What an engine refused, in words, and whether it may do it later. */
export function asStartError(error: unknown, socket: string): StartError {
  if (error instanceof StartError) return error;
  if (isAway(error)) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    const hint = code === "EACCES" ? ": the agent's user may not use it" : code === "ENOENT" ? ": there is no such socket" : ` (${code})`;
    return new StartError(`the container engine does not answer at ${socket}${hint}`, { wait: true });
  }
  const text = messageOf(error);
  if (/no space left on device/i.test(text)) return new StartError(`the container engine's disk is full: ${text}`, { wait: true });
  // somebody took the port in the meantime: another is chosen
  return new StartError(text, { wait: /port is already allocated|address already in use/i.test(text) });
}

/** An engine's own words, without what its client puts around them. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/^\(HTTP code \d+\) [^-]*- /, "").trim();
}
