import { describe, expect, test } from "vitest";
import { inferenceRequestHeaders, serviceAnswerHeaders, serviceRequestHeaders } from "./headers.ts";

/** What a client, or a proxy before us, may send and nobody behind us may see. */
const never = {
  connection: "keep-alive, x-private", "keep-alive": "timeout=5", te: "trailers", upgrade: "h2c", "proxy-authorization": "Basic x", "transfer-encoding": "chunked", host: "edge.example", "content-length": "5",
  "x-private": "1", "cf-connecting-ip": "203.0.113.1", "x-forwarded-for": "203.0.113.1", "x-real-ip": "203.0.113.1", "cdn-loop": "x", "x-fairlead-target": "other.local.1", "x-fairlead-request": "req_x",
};

describe("inferenceRequestHeaders()", () => {
  test("lets through what engines and providers read, and nothing else", () => {
    const headers = new Headers({
      ...never, authorization: "Bearer fl_secret", "x-api-key": "fl_secret", "api-key": "fl_secret", cookie: "a=b", "user-agent": "SDK", "openai-organization": "org", "x-unknown": "1",
      "content-type": "application/json", accept: "text/event-stream", "openai-beta": "x", "anthropic-version": "2023-06-01", "anthropic-beta": "y", "idempotency-key": "k", traceparent: "00-1-2-01", tracestate: "t",
    });
    expect(inferenceRequestHeaders(headers, false)).toEqual({
      "content-type": "application/json", "openai-beta": "x", "idempotency-key": "k", traceparent: "00-1-2-01", tracestate: "t",
      "user-agent": "fairlead",
    });
  });

  test("a trace's state goes with its trace only", () => {
    expect(inferenceRequestHeaders(new Headers({ tracestate: "t" }), false)).not.toHaveProperty("tracestate");
  });

  test("what nobody may change is one object for all that send nothing more", () => {
    const headers = inferenceRequestHeaders(new Headers({ cookie: "a=b" }), false);
    expect(headers).toBe(inferenceRequestHeaders(new Headers(), true));
    expect(Object.isFrozen(headers)).toBe(true);
  });

  test("a simulator's order passes in a world on one machine only", () => {
    const headers = new Headers({ "x-sim-fail": "status:500" });
    expect(inferenceRequestHeaders(headers, false)).not.toHaveProperty("x-sim-fail");
    expect(inferenceRequestHeaders(headers, true)).toHaveProperty("x-sim-fail", "status:500");
    expect(inferenceRequestHeaders(new Headers(), true)).toEqual({ "content-type": "application/json", "user-agent": "fairlead" });
  });
});

describe("serviceRequestHeaders()", () => {
  test("lets everything through but what belongs to a connection, to the edge or to its callers' credential", () => {
    const own = { cookie: "session=1", accept: "text/html", "x-anything": "1", "user-agent": "curl", origin: "https://app.example", range: "bytes=0-1" };
    expect(serviceRequestHeaders(new Headers({ ...never, ...own, authorization: "Bearer fl_secret" }))).toEqual(own);
  });

  test.each(["authorization", "x-api-key", "api-key"] as const)("keeps back what a key of ours is in, and lets the service's own through: %s", (place) => {
    const own = { authorization: "Bearer 1", "x-api-key": "2", "api-key": "3" };
    const { [place]: _, ...rest } = own;
    expect(serviceRequestHeaders(new Headers({ ...own, [place]: place === "authorization" ? "Bearer fl_secret" : "fl_secret" }))).toEqual(rest);
    expect(serviceRequestHeaders(new Headers({ authorization: "Bearer fl_secret", "x-api-key": "fl_secret", "api-key": "fl_secret" }))).toEqual({});
  });

  test("what the Connection header names is kept back, however it is written", () => {
    expect(serviceRequestHeaders(new Headers({ connection: "X-One ,x-TWO", "x-one": "1", "X-Two": "2", "x-three": "3" }))).toEqual({ "x-three": "3" });
  });
});

describe("serviceAnswerHeaders()", () => {
  test("keeps several cookies apart", () => {
    const headers = new Headers({ "content-type": "text/html" });
    headers.append("set-cookie", "a=1");
    headers.append("set-cookie", "b=2; Path=/");
    expect(serviceAnswerHeaders(headers).getSetCookie()).toEqual(["a=1", "b=2; Path=/"]);
  });

  test("lets through what a service says, but not what belongs to its connection or is ours to say", () => {
    const headers = new Headers({ connection: "x-private", "x-private": "1", "keep-alive": "timeout=5", "transfer-encoding": "chunked", "content-length": "5", "x-fairlead-replica": "forged", server: "nginx", etag: '"1"', location: "/next" });
    expect(Object.fromEntries(serviceAnswerHeaders(headers))).toEqual({ server: "nginx", etag: '"1"', location: "/next" });
  });
});
