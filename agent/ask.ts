import { request } from "undici";
import { unanswered } from "./probe.ts";

export interface AskOptions {
  timeoutMs: number;
  headers?: Readonly<Record<string, string>> | undefined;
  /** JSON text; present: a POST's. */
  body?: string | undefined;
}

/** What a replica answered, or why it did not. */
export type Asked = { status: number; text: string } | { problem: string };

/** An answer larger than this is no engine's metrics, list of models or word of its state. */
const bytesMax = 4 * 1024 * 1024;

/** Asks the engine on a port of this host something about itself. Never throws. */
export async function ask(port: number, method: "GET" | "POST", path: string, { timeoutMs, headers = {}, body }: AskOptions): Promise<Asked> {
  try {
    const response = await request(`http://127.0.0.1:${port}${path}`, {
      method,
      headers: body === undefined ? headers : { "content-type": "application/json", ...headers },
      ...(body === undefined ? {} : { body }),
      signal: AbortSignal.timeout(timeoutMs),
    });
    let text = "";
    response.body.setEncoding("utf8");
    for await (const chunk of response.body) {
      text += String(chunk);
      if (text.length > bytesMax) return { problem: `${path} answered more than ${bytesMax} characters` };
    }
    return { status: response.statusCode, text };
  } catch (error) {
    return { problem: unanswered(error, path, timeoutMs) };
  }
}

/** A member of a member of a JSON value, outermost first; undefined where there is none. */
export function memberOf(value: unknown, members: readonly string[]): unknown {
  return members.reduce<unknown>((inner, member) => (typeof inner === "object" && inner !== null ? (inner as Record<string, unknown>)[member] : undefined), value);
}

/** The value of a JSON text, or undefined where it is none. */
export function jsonOf(asked: Asked): unknown {
  if (!("status" in asked) || asked.status !== 200) return undefined;
  try {
    return JSON.parse(asked.text);
  } catch {
    return undefined;
  }
}
