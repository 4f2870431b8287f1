/**
 * Every error that Fairlead answers, with the status and the `type` OpenAI uses for it. Codes that OpenAI's clients read keep
 * OpenAI's spelling; ours begin with whose fault it is.
 */
export const errorCodes = {
  invalid_api_key: { status: 401, type: "invalid_request_error", terminal: true },
  permission_denied: { status: 403, type: "invalid_request_error", terminal: true },
  invalid_json: { status: 400, type: "invalid_request_error", terminal: true },
  invalid_request: { status: 400, type: "invalid_request_error", terminal: true },
  invalid_bundle: { status: 422, type: "invalid_request_error", terminal: true },
  stale_bundle: { status: 409, type: "invalid_request_error", terminal: true },
  conflict: { status: 409, type: "invalid_request_error", terminal: true },
  model_not_found: { status: 404, type: "invalid_request_error", terminal: true },
  service_not_found: { status: 404, type: "invalid_request_error", terminal: true },
  not_found: { status: 404, type: "invalid_request_error", terminal: true },
  context_length_exceeded: { status: 400, type: "invalid_request_error", terminal: true },
  content_filter: { status: 400, type: "invalid_request_error", terminal: true },
  unsupported_parameter: { status: 400, type: "invalid_request_error", terminal: true },
  method_not_allowed: { status: 405, type: "invalid_request_error", terminal: true },
  body_too_large: { status: 413, type: "invalid_request_error", terminal: true },
  poison_request: { status: 422, type: "invalid_request_error", terminal: true },
  saturated: { status: 429, type: "requests", terminal: false },
  provider_error: { status: 502, type: "server_error", terminal: false },
  provider_refused: { status: 502, type: "server_error", terminal: false },
  provider_unreachable: { status: 502, type: "server_error", terminal: false },
  provider_timeout: { status: 504, type: "server_error", terminal: false },
  no_replica: { status: 503, type: "server_error", terminal: false },
  not_ready: { status: 503, type: "server_error", terminal: false },
  internal: { status: 500, type: "server_error", terminal: false },
} as const satisfies Record<string, { status: number; type: string; terminal: boolean }>;

export type ErrorCode = keyof typeof errorCodes;

export interface ErrorOptions {
  /** The request field at fault. */
  param?: string | null;
  /** How long the caller should wait before trying again, in milliseconds; at most 60 s is sent (the SDKs ignore or sleep more). */
  retryAfterMs?: number;
  cause?: unknown;
}

/** An error that knows its answer. The message states the action and the value: `Cannot route model "x": no replica is ready`. */
export class FairleadError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly param: string | null;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, { param = null, retryAfterMs, cause }: ErrorOptions = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "FairleadError";
    this.code = code;
    this.status = errorCodes[code].status;
    this.param = param;
    this.retryAfterMs = retryAfterMs;
  }
}

/** OpenAI's error envelope: all four keys, always. */
export interface ErrorEnvelope {
  error: { message: string; type: string; param: string | null; code: string | null };
}

export function errorEnvelope(error: FairleadError): ErrorEnvelope {
  return { error: { message: error.message, type: errorCodes[error.code].type, param: error.param, code: error.code } };
}

/**
 * The headers that go with an error. `x-should-retry: false` stops the SDKs from repeating what can only fail again
 * (facts: OpenAI SDK 7.55 `client.ts`).
 */
export function errorHeaders(error: FairleadError): Record<string, string> {
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (errorCodes[error.code].terminal) headers["x-should-retry"] = "false";
  if (error.retryAfterMs !== undefined) {
    const ms = Math.min(60_000, Math.max(0, Math.round(error.retryAfterMs)));
    headers["retry-after"] = String(Math.max(1, Math.ceil(ms / 1000)));
    headers["retry-after-ms"] = String(ms);
  }
  return headers;
}

/** The answer to an error, as every door gives it. */
export function errorResponse(error: FairleadError, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(errorEnvelope(error)), { status: error.status, headers: { ...errorHeaders(error), ...headers } });
}
