import { readFile } from "node:fs/promises";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { World } from "../e2e/world.ts";

let world: World;
let vendor: Server;
let endpoint = "";
/** What the vendor says after the headers of a stream of events, and how. */
let say: (response: ServerResponse) => Promise<void>;
let model = "";
let models = 0;

beforeAll(async () => {
  world = await World.start();
  vendor = createServer((request, response) => {
    request.resume().once("end", () => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      // whoever has heard enough cuts the connection
      response.on("error", () => undefined);
      void say(response).catch(() => response.destroy());
    });
  });
  await new Promise<void>((resolve) => vendor.listen(0, "127.0.0.1", resolve));
  endpoint = `http://127.0.0.1:${(vendor.address() as AddressInfo).port}/v1`;
});
afterAll(async () => {
  await world?.stop();
  vendor?.closeAllConnections();
  vendor?.close();
});

/** A service of its own: what isolates hold against the vendor for its garbage elsewhere is not in the way, and no time of a busy machine is taken for silence. */
async function fresh(): Promise<void> {
  model = `garbage-${++models}`;
  await world.offer(model, `name: ${model}\nservice:\n  model: ${model}\n  providers:\n    - {type: external, name: vendor, endpoint: "${endpoint}", api_key: sk-none}\n  routing: {timeouts: {ttft: 10s, idle: 10s, total: 20s}, on_stream_loss: error}\n`);
}

async function write(response: ServerResponse, bytes: string | Buffer): Promise<void> {
  if (response.destroyed) throw new Error("nobody listens");
  await new Promise<void>((resolve, reject) => response.write(bytes, (error) => (error ? reject(error) : resolve())));
}

/** Says these pieces, each in a packet of its own, and ends. */
function pieces(...parts: (string | Buffer)[]): typeof say {
  return async (response) => {
    for (const part of parts) {
      await write(response, part);
      await new Promise((resolve) => setImmediate(resolve));
    }
    response.end();
  };
}

function chunk(content: string, finish: string | null = null): string {
  return JSON.stringify({ id: "x", object: "chat.completion.chunk", created: 0, model: "m", choices: [{ index: 0, delta: { content }, finish_reason: finish }] });
}

const event = (content: string, finish: string | null = null): string => `data: ${chunk(content, finish)}\n\n`;
const end = `${event("", "stop")}data: [DONE]\n\n`;

/** The standard's own reading of a stream of events: three kinds of line end, one byte order mark at the front. */
function parse(text: string): string[] {
  const payloads: string[] = [];
  let data: string[] = [];
  for (const line of text.replace(/^\uFEFF/, "").split(/\r\n|\r|\n/)) {
    if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
    if (line !== "") continue;
    if (data.length > 0) payloads.push(data.join("\n"));
    data = [];
  }
  // what no empty line ends was never said
  return payloads;
}

interface Heard {
  text: string;
  code: string | undefined;
  done: boolean;
}

/** Asks for a stream and holds every byte of it to the standard. Throws on whatever is malformed. */
async function hear(): Promise<Heard> {
  const response = await world.chat(model, { stream: true }, { signal: AbortSignal.timeout(20_000) });
  const bytes = await response.arrayBuffer();
  const raw = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  const heard: Heard = { text: "", code: undefined, done: false };
  if (response.status !== 200) return { ...heard, code: (JSON.parse(raw) as { error: { code: string } }).error.code };
  expect(raw).not.toContain("\0");
  // nothing of the upstream's own stream but data, and our comments
  expect(raw.split("\n").filter((line) => !/^(data: .*|:.*|)$/.test(line))).toEqual([]);
  const data = parse(raw);
  for (const payload of data) {
    expect([heard.done, heard.code]).toEqual([false, undefined]);
    if (payload === "[DONE]") {
      heard.done = true;
      continue;
    }
    const said = JSON.parse(payload) as { choices?: { delta: { content?: string } }[]; error?: { code: string } } | null;
    if (said?.error !== undefined) heard.code = said.error.code;
    else heard.text += said?.choices?.[0]?.delta.content ?? "";
  }
  return heard;
}

const whole = { text: "one two ⚓", code: undefined, done: true };
const [first, second, third] = [event("one"), event(" two"), event(" ⚓")];
const good = first + second + third + end;
const at = Buffer.from(good);
const anchor = at.indexOf("⚓") + 1;

describe("row 6: what is odd but clear is understood", () => {
  beforeAll(fresh);

  test.each<[string, (string | Buffer)[]]>([
    ["a character cut between two packets", [at.subarray(0, anchor), at.subarray(anchor)]],
    ["a byte at a time", [...at].map((byte) => Buffer.from([byte]))],
    ["CRLF", [good.replaceAll("\n", "\r\n")]],
    ["CRLF cut in its middle", [`${first.slice(0, -2)}\r`, `\n\r`, `\n${second}`, third, end]],
    ["both line ends mixed", [first.replaceAll("\n", "\r\n"), second, third.replace("\n\n", "\n\r\n"), end]],
    ["a byte order mark at the front", [`\uFEFF${good}`]],
    ["comments", [`: hello\n\n${first}:\n\n: data: {"choices":[]}\n\n${second}`, third, `: x\n\n${end}`]],
    ["a comment within an event", [first, `: note\n${second}`, third, end]],
    ["events without data", [first, "event: ping\n\n", "id: 7\n\n", "retry: 1\n\n", second, third, end]],
    ["fields nobody knows", [first, `colour: red\n\n`, second, third, end]],
    ["no blank after the colon", [good.replaceAll("data: ", "data:")]],
    ["an event over several data lines", [`${first}data: {\ndata: ${chunk(" two").slice(1)}\n\n${third}${end}`]],
    ["empty lines in plenty", [`\n\n\n\n${first}\n\n\n${second}\n${third}\n\n${end}\n\n`]],
    ["one event that is no JSON", [first, 'data: {"id": "x", "choices": [{\n\n', second, third, end]],
    ["one event cut short, with NUL in it", [first, "data: {\"choices\":\0\n\n", second, third, end]],
    ["an event that is a text", [first, "data: hello\n\n", second, third, end]],
    ["more after its end", [good, event("more"), "data: garbage\n\n", "data: [DONE]\n\n"]],
    ["no end mark after its end", [first + second + third + event("", "stop")]],
    ["a byte order mark in the middle", [first, `\uFEFF${second}`, third, end]],
    ["events that are no objects", [first, "data: null\n\n", second, "data: 42\n\n", third, "data: []\n\n", end]],
    ["an object of another kind", [first, 'data: {"hello":"world"}\n\n', second, third, end]],
    ["names and numbers of events", [`event: chunk\nid: 1\nretry: 1\n${first}`, second, third, end]],
  ])("%s", async (_, parts) => {
    say = pieces(...parts);
    expect(await hear()).toEqual(whole);
  });
});

describe("row 6: what is no text is not passed on as it came", () => {
  beforeAll(fresh);

  const broken = (bytes: number[]): Buffer => Buffer.concat([Buffer.from('data: {"choices":[{"index":0,"delta":{"content":" two'), Buffer.from(bytes), Buffer.from('"}}]}\n\n')]);

  test.each<[string, string | Buffer, string]>([
    ["bytes that are no UTF-8", broken([0xff, 0xfe]), "one two\uFFFD\uFFFD ⚓"],
    ["half a character", broken([0xe2, 0x9a]), "one two\uFFFD ⚓"],
    ["a lone carriage return that hides a line", `event: x\rdata: garbage\ndata: ${chunk(" two")}\n\n`, "one ⚓"],
  ])("%s", async (_, part, text) => {
    say = pieces(first, part, third, end);
    expect(await hear()).toEqual({ ...whole, text });
  });
});

describe("row 6: what is garbage is never passed on, and the answer ends in a typed error", () => {
  beforeEach(fresh);

  test.each<[string, (string | Buffer)[]]>([
    ["bytes that mean nothing", [Buffer.from(Array.from({ length: 5_000 }, (_, i) => (i * 7919) % 256))]],
    ["two events in a row that are no JSON", [first, "data: {\n\n", "data: }\n\n", second, third, end]],
    ["HTML", ["<!doctype html>\n<html>\n\n<body>Bad gateway</body></html>\n\n"]],
    ["a JSON answer where events should be", [chunk("one", "stop")]],
    ["a cut in the middle of an event", [first, second.slice(0, -20)]],
    ["a cut between the line ends of an event", [first, second.slice(0, -1)]],
    ["lone carriage returns for line ends", [good.replaceAll("\n", "\r")]],
    ["an error event", [first, `event: error\ndata: {"message":"secret of the vendor"}\n\n`, second, end]],
    ["an error among the fields", [first, `data: {"error":{"message":"secret of the vendor"}}\n\n`, second, end]],
    ["nothing at all", []],
    ["only comments", [": a\n\n: b\n\n"]],
  ])("%s", async (_, parts) => {
    say = pieces(...parts);
    const { text, code, done } = await hear();
    expect(code).toMatch(/^provider_/);
    expect(done).toBe(false);
    expect("one two".startsWith(text)).toBe(true);
  });
});

/** Resident memory of a process, in MiB (Linux). */
async function rssMiB(pid: number): Promise<number> {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}

const mebibyte = Buffer.alloc(1024 * 1024, "a");

describe("row 6: a stream without measure", () => {
  beforeEach(fresh);

  test.each<[string, string, (n: number) => string | Buffer]>([
    ["a line of 100 MB", "data: ", () => mebibyte],
    ["a comment of 100 MB", ": ", () => mebibyte],
    ["100 MB in lines of one event", "", () => Buffer.concat([Buffer.from("data: "), mebibyte, Buffer.from("\n")])],
    ["100 MB of a text that never ends", 'data: {"choices":[{"delta":{"content":"', () => mebibyte],
  ])("%s, six at once: each is cut, and memory stays", async (_, begin, more) => {
    const pid = world.pids()["workerd"] ?? 0;
    let said = 0;
    say = async (response) => {
      await write(response, first + begin);
      for (let n = 0; n < 100; n++, said++) await write(response, more(n));
      response.end();
    };
    const before = await rssMiB(pid);
    let most = before;
    const watching = setInterval(() => void rssMiB(pid).then((now) => (most = Math.max(most, now))), 20);
    const heard = await Promise.all(Array.from({ length: 6 }, async () => hear()));
    clearInterval(watching);
    for (const { text, code, done } of heard) expect([text, code, done]).toEqual(["one", "provider_unreachable", false]);
    // of 600 MB: an event may have 1 MiB, and the rest is what sockets hold and a collector has not come to yet
    expect(most - before).toBeLessThan(250);
    expect(said).toBeLessThan(6 * 50);
  });
});
