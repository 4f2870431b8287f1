import { describe, expect, test } from "vitest";
import { FairleadError, errorCodes, errorEnvelope, errorHeaders, errorResponse, type ErrorCode } from "./errors.ts";

const codes = Object.keys(errorCodes) as ErrorCode[];

describe("FairleadError", () => {
  test.each(codes)("%s knows its status and answers with all four keys of OpenAI's envelope", async (code) => {
    const error = new FairleadError(code, "Cannot do it: why", { param: "model" });
    expect(error).toBeInstanceOf(Error);
    expect(error.status).toBe(errorCodes[code].status);
    const response = errorResponse(error, { "x-request-id": "req_1" });
    expect(response.status).toBe(errorCodes[code].status);
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(response.headers.get("x-request-id")).toBe("req_1");
    expect(await response.json()).toEqual({ error: { message: "Cannot do it: why", type: errorCodes[code].type, param: "model", code } });
  });

  test("param is null where no field is at fault", () => {
    expect(errorEnvelope(new FairleadError("internal", "x")).error.param).toBeNull();
  });

  test("the cause is kept for the log and not sent", () => {
    const cause = new Error("a secret in a connection string");
    const error = new FairleadError("internal", "Cannot serve the request: internal error", { cause });
    expect(error.cause).toBe(cause);
    expect(JSON.stringify(errorEnvelope(error))).not.toContain("secret");
  });
});

describe("errorHeaders()", () => {
  test("tells the SDKs not to repeat exactly what is the caller's fault", () => {
    for (const code of codes) {
      const { status } = errorCodes[code];
      const callersFault = status < 500 && status !== 429;
      expect(errorHeaders(new FairleadError(code, "x"))["x-should-retry"], code).toBe(callersFault ? "false" : undefined);
    }
  });

  test.each([
    [0, "1", "0"], [1, "1", "1"], [999.6, "1", "1000"], [1_000, "1", "1000"], [1_001, "2", "1001"], [60_000, "60", "60000"], [3_600_000, "60", "60000"], [-5, "1", "0"],
  ])("a wait of %d ms is sent as %s s and %s ms", (ms, seconds, milliseconds) => {
    expect(errorHeaders(new FairleadError("saturated", "x", { retryAfterMs: ms }))).toMatchObject({ "retry-after": seconds, "retry-after-ms": milliseconds });
  });

  test("without a wait nothing is said of it", () => {
    expect(errorHeaders(new FairleadError("saturated", "x"))).toEqual({ "content-type": "application/json" });
  });
});
