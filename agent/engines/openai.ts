import type { Load } from "../../schema/protocol.ts";

/** An OpenAI-compatible server that tells nothing we know of its load: unknown, which never means idle. */
export function openaiLoad(): Load | undefined {
  return undefined;
}
