import { connect } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bothWays, seen, type BothWays } from "./upstreams.ts";
import { until } from "./world.ts";

/** "Within a second" (failure model, row 26), and what a busy machine takes to notice. */
const cancelMs = 1_500;

let both: BothWays;

beforeAll(async () => {
  both = await bothWays();
});
afterAll(() => both?.stop());

async function aborted(url: string): Promise<number> {
  return (await seen(url)).aborted;
}

/** Leave while the upstream is silent, and see how long it takes until the upstream knows. */
async function leave(model: "owned" | "rented", fail: string, afterMs: number, body: Record<string, unknown> = {}): Promise<number> {
  const url = both.engines[model];
  const before = await aborted(url);
  const controller = new AbortController();
  const work = both.world.chat(model, { stream: true, ...body }, { headers: { "x-sim-fail": fail }, signal: controller.signal }).then(async (response) => response.text()).catch(() => "left");
  // the request must have arrived before its client leaves it
  await new Promise((resolve) => setTimeout(resolve, afterMs));
  controller.abort();
  const left = Date.now();
  expect(await work).toBe("left");
  await until("the upstream's abort", cancelMs, async () => (await aborted(url)) > before);
  return Date.now() - left;
}

test.each<["owned" | "rented", string, string]>([
  ["owned", "hang", "before the headers"],
  ["owned", "stall@3", "in the middle of an answer"],
  ["rented", "hang", "before the headers"],
  ["rented", "stall@3", "in the middle of an answer"],
])("a client that leaves cancels a silent upstream within a second (%s, %s)", async (model, fail) => {
  await leave(model, fail, 700);
  await leave(model, fail, 150);
});

test("a stream that goes on is cancelled too", async () => {
  await leave("owned", "slow=100ms", 400);
});

const call = {
  messages: [{ role: "user", content: "Use your tool." }],
  tools: [{ type: "function", function: { name: "tie", parameters: { type: "object", properties: { knot: { type: "string" }, rope: { type: "string" }, turns: { type: "integer" } } } } }],
};

test.each(["owned", "rented"] as const)("a client that leaves in the middle of a tool call cancels it (%s)", async (model) => {
  // the name of the call is out by then, its arguments are not
  await leave(model, "stall@35", 700, call);
  await leave(model, "slow=50ms", 1_200, call);
});

test.each(["owned", "rented"] as const)("a client that resets its connection cancels a request that is not streamed (%s)", async (model) => {
  const url = both.engines[model];
  const before = await aborted(url);
  const body = JSON.stringify({ model, messages: [{ role: "user", content: "Hello" }] });
  const head = ["POST /v1/chat/completions HTTP/1.1", "host: fairlead", `authorization: Bearer ${both.world.up.apiKey}`, "content-type: application/json", "x-sim-fail: hang", `content-length: ${Buffer.byteLength(body)}`];
  const asked = (await seen(url)).requests;
  const socket = connect(Number(new URL(both.world.router).port), "127.0.0.1");
  socket.write(`${head.join("\r\n")}\r\n\r\n${body}`);
  await seen(url, `requests:${asked + 1}`);
  socket.resetAndDestroy();
  await until("the upstream's abort", cancelMs, async () => (await aborted(url)) > before);
});
