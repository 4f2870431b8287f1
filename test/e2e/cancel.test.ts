import { connect } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bothWays, seen, type BothWays } from "./upstreams.ts";

/** "Within a second" (failure model, row 26), and what a busy machine takes to notice. */
const cancelMs = 1_500;

let both: BothWays;

beforeAll(async () => {
  both = await bothWays();
});
afterAll(() => both?.stop());

/** Leave some time after the upstream has the request and has given so many tokens: it knows in time. */
async function leave(model: "owned" | "rented", fail: string, { tokens = 0, afterMs = 0 }, body: Record<string, unknown> = {}): Promise<void> {
  const url = both.engines[model];
  const before = await seen(url);
  const controller = new AbortController();
  const work = both.world.chat(model, { stream: true, ...body }, { headers: { "x-sim-fail": fail }, signal: controller.signal }).then(async (response) => response.text()).catch(() => "left");
  await seen(url, `requests:${before.requests + 1},tokens:${before.tokens + tokens}`);
  await new Promise((resolve) => setTimeout(resolve, afterMs));
  controller.abort();
  await seen(url, `aborted:${before.aborted + 1}`, cancelMs);
  expect(await work).toBe("left");
}

test.each<["owned" | "rented", string, number, string]>([
  ["owned", "hang", 0, "before the headers"],
  ["owned", "stall@3", 3, "in the middle of an answer"],
  ["rented", "hang", 0, "before the headers"],
  ["rented", "stall@3", 3, "in the middle of an answer"],
])("a client that leaves cancels a silent upstream within a second (%s, %s)", async (model, fail, tokens) => {
  await leave(model, fail, { tokens, afterMs: 700 });
  await leave(model, fail, { tokens, afterMs: 150 });
});

test("a stream that goes on is cancelled too", async () => {
  await leave("owned", "slow=100ms", { tokens: 3 });
});

const call = {
  messages: [{ role: "user", content: "Use your tool." }],
  tools: [{ type: "function", function: { name: "tie", parameters: { type: "object", properties: { knot: { type: "string" }, rope: { type: "string" }, turns: { type: "integer" } } } } }],
};

test.each(["owned", "rented"] as const)("a client that leaves in the middle of a tool call cancels it (%s)", async (model) => {
  // the name of the call is out by then, its arguments are not
  await leave(model, "stall@35", { tokens: 35, afterMs: 300 }, call);
  await leave(model, "slow=50ms", { tokens: 22 }, call);
});

test.each(["owned", "rented"] as const)("a client that resets its connection cancels a request that is not streamed (%s)", async (model) => {
  const url = both.engines[model];
  const before = await seen(url);
  const body = JSON.stringify({ model, messages: [{ role: "user", content: "Hello" }] });
  const head = ["POST /v1/chat/completions HTTP/1.1", "host: fairlead", `authorization: Bearer ${both.world.up.apiKey}`, "content-type: application/json", "x-sim-fail: hang", `content-length: ${Buffer.byteLength(body)}`];
  const socket = connect(Number(new URL(both.world.router).port), "127.0.0.1");
  socket.write(`${head.join("\r\n")}\r\n\r\n${body}`);
  await seen(url, `requests:${before.requests + 1}`);
  socket.resetAndDestroy();
  await seen(url, `aborted:${before.aborted + 1}`, cancelMs);
});
