import { describe, expect, test } from "vitest";
import { newKey } from "../schema/key.ts";
import { CleanLines } from "./lines.ts";
import { bare, createScrubber } from "./scrub.ts";

const scrub = (line: string): string => createScrubber().scrub(line);
const key = newKey("fl").key;

describe("scrub()", () => {
  test.each<[string, string, string]>([
    ["our keys", `got ${key} and ${newKey("fla").key}`, "got *** and ***"],
    ["vendors' keys", "OPENAI sk-proj-abcdefgh12345678 hf_abcdefghijkl AKIAABCDEFGHIJKLMNOP", "OPENAI *** *** ***"],
    ["headers", "Authorization: Bearer abc.def-123 and authorization: Basic dXNlcjpwYXNz", "Authorization: Bearer *** and authorization: Basic ***"],
    ["assignments", "API_KEY=hunter22 password: 'correct horse'", "API_KEY=*** password: '*** horse'"],
    ["passwords in addresses", "pulling https://bob:hunter22@registry.example/x", "pulling https://bob:***@registry.example/x"],
    ["JSON Web Tokens", "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "token ***"],
    ["vLLM's request log", "Received request cmpl-1: prompt: 'My name is O\\'Neil, params: no', params: SamplingParams(n=1), prompt_token_ids: [1, 2, 3]", "Received request cmpl-1: prompt: ***, params: SamplingParams(n=1), prompt_token_ids: [***]"],
    ["SGLang's request log", "Receive: obj=GenerateReqInput(rid='a', text=\"Tell me\", input_ids=[5, 6])", "Receive: obj=GenerateReqInput(rid='a', text=***, input_ids=[***])"],
    ["a whole body", '{"messages":[{"role":"user","content":"what \\"is\\" it"}],"prompt" : "x"}', '{"messages":[{"role":"user","content":"***"}],"prompt" : "***"}'],
    ["a body that is cut short", '{"messages":[{"role":"user","content":"what is it and why', '{"messages":[{"role":"user","content":"***"'],
    ["a body as Python prints it", "{'role': 'user', 'content': 'it\\'s me'}", "{'role': 'user', 'content': \"***\"}"],
  ])("hides %s", (_name, line, expected) => {
    expect(scrub(line)).toBe(expected);
  });

  test.each(["INFO:     127.0.0.1:4242 - \"POST /v1/chat/completions HTTP/1.1\" 200 OK", "Loading weights took 12.5 s, text model", "prompt throughput: 12.0 tokens/s", "fl_attn_2 is used", "risk-free-estimate-of-nothing"])("leaves %j as it is", (line) => {
    expect(scrub(line)).toBe(line);
  });

  test("hides what was learned, in the forms in which programs print it", () => {
    const scrubber = createScrubber();
    scrubber.learn(['pa"ss/wörd', "-----BEGIN KEY-----\nMIIBVgIBADANBg\n-----END KEY-----", "abc"]);
    for (const form of ['pa"ss/wörd', JSON.stringify('pa"ss/wörd'), encodeURIComponent('pa"ss/wörd'), Buffer.from('pa"ss/wörd').toString("base64"), "  MIIBVgIBADANBg"]) {
      expect(scrubber.scrub(`it is ${form}.`)).not.toContain(form.trim().slice(1, -1));
    }
    expect(scrubber.scrub("abc is too short to be told from a word")).toBe("abc is too short to be told from a word");
  });

  test("hides the longer of two secrets whole", () => {
    const scrubber = createScrubber();
    scrubber.learn(["hunter", "hunter-and-more"]);
    expect(scrubber.scrub("x hunter-and-more y hunter")).toBe("x *** y ***");
  });
});

test("bare() leaves what a terminal would show", () => {
  expect(bare("\u001b[31mred\u001b[0m\ttab \u001b]0;title\u0007end\u0008\r")).toBe("red\ttab end");
  expect(bare("10%\r20%\r100% done")).toBe("100% done");
});

describe("CleanLines", () => {
  const clean = ({ raw = false } = {}): CleanLines => {
    const scrubber = createScrubber();
    scrubber.learn(["swordfish"]);
    return new CleanLines({ scrubber, raw });
  };

  test("finds a secret that two pieces share, and one between escapes", () => {
    const lines = clean();
    expect(lines.push(Buffer.from("the word is sword"))).toBe("");
    expect(lines.push(Buffer.from("fish\nand sword\u001b[1mfish\nrest"))).toBe("the word is ***\nand ***\n");
    expect(lines.end()).toBe("rest\n");
    expect(lines.end()).toBe("");
  });

  test("keeps escapes when they are wanted, except in a line that hides a secret between them", () => {
    const lines = clean({ raw: true });
    expect(lines.push("\u001b[32mready\u001b[0m\nsword\u001b[1mfish\n\u001b[1mswordfish\u001b[0m\n")).toBe("\u001b[32mready\u001b[0m\n***\n***\n");
  });

  test("cuts a line that does not end, and no secret shows at the cut", () => {
    for (const before of [16 * 1024 - 4, 24 * 1024 - 4]) {
      const lines = clean();
      const out = lines.push(`${"x".repeat(before)}swordfish${"y".repeat(40_000)}`) + lines.push("swordfish\nnext\n") + lines.end();
      expect(out).not.toMatch(/sword|fish/);
      expect(out).toMatch(/^x+\*{0,3}…? ?.*\nnext\n$/);
      expect(out.length).toBeLessThan(17_000);
    }
  });
});
