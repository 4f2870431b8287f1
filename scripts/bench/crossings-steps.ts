/** Small Workers between a client and the upstream, each with one step more than another: what differs is what the step costs. */
export interface Step {
  name: string;
  /** What it is compared with. */
  against: string;
  /** Evaluated once. */
  once?: string;
  /** The body of its `fetch(request, env)`. */
  script: string;
}

const sent = `{ "content-type": "application/json", "user-agent": "fairlead", authorization: "Bearer sk-upstream" }`;
const told = `{ "content-type": "application/json", "x-request-id": "req_0123456789abcdef", "x-fairlead-upstream": "upstream", "x-fairlead-attempts": "1", "x-fairlead-fallback": "false", "x-fairlead-model": "bench" }`;
const init = (headers: string, body: string): string => `{ method: "POST", headers: ${headers}, body: ${body}, redirect: "manual" }`;
const call = (headers = sent, body = "body"): string => `const response = await fetch(env.UPSTREAM, ${init(headers, body)});`;
const read = "const body = await request.text();";
const whole = "const answer = await response.text();";

/** The floor, which the others are told in. */
export const floor = "bare";

export const steps: Step[] = [
  { name: floor, against: floor, script: "return fetch(env.UPSTREAM, request);" },
  { name: "fetch from parts", against: floor, script: `return fetch(env.UPSTREAM, ${init(sent, "request.body")});` },
  { name: "request's body read", against: "fetch from parts", script: `${read} return fetch(env.UPSTREAM, ${init(sent, "body")});` },
  { name: "answer's body read", against: "request's body read", script: `${read} ${call()} ${whole} return new Response(answer, response);` },
  { name: "6 headers, an object", against: "answer's body read", script: `${read} ${call()} ${whole} return new Response(answer, { status: response.status, headers: ${told} });` },
  { name: "6 headers, a copy and one set", against: "answer's body read", once: `const told = new Headers(${told});`, script: `${read} ${call()} ${whole} const out = new Response(answer, { status: response.status, headers: told }); out.headers.set("x-request-id", "req_0123456789abcdef"); return out;` },
  { name: "3 headers sent, a copy", against: "answer's body read", once: `const sent = new Headers(${sent});`, script: `${read} ${call("sent")} ${whole} return new Response(answer, response);` },
  { name: "both as bytes, not as text", against: "answer's body read", script: `const body = await request.arrayBuffer(); ${call()} const answer = await response.arrayBuffer(); return new Response(answer, response);` },
  { name: "body parsed as JSON", against: "answer's body read", script: `${read} JSON.parse(body); ${call()} ${whole} return new Response(answer, response);` },
  { name: "4 headers asked for", against: "answer's body read", script: `for (const name of ["authorization", "openai-beta", "idempotency-key", "traceparent"]) request.headers.get(name); ${read} ${call()} ${whole} return new Response(answer, response);` },
  { name: "all headers walked, an iterator", against: "answer's body read", script: `const all = []; for (const [name, value] of request.headers) all.push([name, value]); ${read} ${call()} ${whole} return new Response(answer, response);` },
  { name: "all headers walked, a callback", against: "answer's body read", script: `const all = []; request.headers.forEach((value, name) => all.push([name, value])); ${read} ${call()} ${whole} return new Response(answer, response);` },
  { name: "URL parsed", against: "answer's body read", script: `const { hostname, pathname, search } = new URL(request.url); ${read} ${call()} ${whole} return new Response(answer, response);` },
  { name: "a listener for a client that goes", against: "answer's body read", script: `request.signal.addEventListener("abort", () => undefined); ${read} ${call()} ${whole} return new Response(answer, response);` },
  { name: "asked whether there is a body", against: "answer's body read", script: `if (request.body === null) return new Response(); ${read} ${call()} ${whole} return new Response(answer, response);` },
  { name: "timer set", against: "answer's body read", script: `${read} setTimeout(() => undefined, 120_000); ${call()} ${whole} return new Response(answer, response);` },
  { name: "timer set and cleared", against: "answer's body read", script: `${read} const timer = setTimeout(() => undefined, 120_000); ${call()} ${whole} clearTimeout(timer); return new Response(answer, response);` },
  { name: "8 functions that wait for each other", against: "answer's body read", once: `const through = async (depth, work) => { const result = depth === 0 ? await work() : await through(depth - 1, work); return result; };`, script: `${read} const response = await through(7, () => fetch(env.UPSTREAM, ${init(sent, "body")})); ${whole} return new Response(answer, response);` },
];
