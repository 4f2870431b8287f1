/** A request the engine refuses, with vLLM's error body: `code` is the HTTP status as a number. */
export class Refusal extends Error {
  readonly status: number;
  readonly type: string;
  readonly param: string | null;

  constructor(status: number, message: string, param: string | null = null, type?: string) {
    super(message);
    this.status = status;
    this.type = type ?? TYPES[status] ?? "InternalServerError";
    this.param = param;
  }

  get body(): { error: { message: string; type: string; param: string | null; code: number } } {
    return { error: { message: this.message, type: this.type, param: this.param, code: this.status } };
  }
}

const TYPES: Record<number, string> = {
  400: "BadRequestError",
  401: "AuthenticationError",
  404: "NotFoundError",
  405: "MethodNotAllowedError",
  429: "RateLimitError",
  503: "ServiceUnavailableError",
};
