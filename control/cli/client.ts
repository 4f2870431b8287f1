import type { Command } from "commander";
import type { ErrorEnvelope } from "../../schema/errors.ts";
import { findConnection } from "./connection.ts";
import { Away, Failure } from "./failure.ts";

/** Control is a database and a publish away: what takes longer hangs. In ms. */
const callTimeoutMs = 15_000;

export interface Client {
  /** @throws Failure with control's own words, or that it cannot be reached */
  call<T>(method: "GET" | "PUT" | "POST" | "DELETE", path: string, body?: unknown): Promise<T>;
  /** As `call`, undefined where control answers 404. */
  find<T>(path: string): Promise<T | undefined>;
  /** An answer that is read while it comes, without a time limit. */
  stream(path: string, signal?: AbortSignal): Promise<ReadableStream<Uint8Array>>;
}

/** The client of a command, by its `--control` and what surrounds it. */
export async function connect(command: Command): Promise<Client> {
  const { control, adminKey } = await findConnection(command.optsWithGlobals<{ control?: string }>().control);

  async function send(method: string, path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
    const init = { method, headers: { authorization: `Bearer ${adminKey}`, "content-type": "application/json" }, ...(signal === undefined ? {} : { signal }), ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
    return fetch(`${control}${path}`, init).catch((error: Error) => {
      const why = error.name === "TimeoutError" ? `no answer within ${callTimeoutMs / 1000} s` : error.cause instanceof Error && error.cause.message !== "" ? error.cause.message : error.message;
      throw new Away(`Cannot reach control at ${control}: ${why.trim()}`);
    });
  }

  return {
    async call<T>(method: string, path: string, body?: unknown) {
      const answer = await send(method, path, body, AbortSignal.timeout(callTimeoutMs));
      if (!answer.ok) throw await failureOf(answer, control);
      return (await answer.json()) as T;
    },
    async find<T>(path: string) {
      const answer = await send("GET", path, undefined, AbortSignal.timeout(callTimeoutMs));
      if (answer.status === 404) return undefined;
      if (!answer.ok) throw await failureOf(answer, control);
      return (await answer.json()) as T;
    },
    async stream(path, signal) {
      const answer = await send("GET", path, undefined, signal);
      if (!answer.ok) throw await failureOf(answer, control);
      return answer.body ?? new Blob([]).stream();
    },
  };
}

async function failureOf(answer: Response, control: string): Promise<Failure> {
  const text = await answer.text().catch(() => "");
  try {
    const { message, code } = (JSON.parse(text) as ErrorEnvelope).error;
    // the edge answers so too, and whoever gives its URL should know
    if (answer.status >= 500) return new Away(message);
    return new Failure(code === "not_found" && message.includes("there is no such path") ? `Cannot use control at ${control}: ${message}; is that where control is?` : message);
  } catch {
    // what stands before control answers in its own words while control is away
    return new (answer.status >= 500 ? Away : Failure)(`Cannot use control at ${control}: it answered ${answer.status}, and not as control does`);
  }
}
