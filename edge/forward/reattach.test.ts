import { describe, expect, test } from "vitest";
import { linkTimes } from "../../schema/protocol.ts";
import { Ways, type Asked } from "./reattach.ts";

const answer = (text = "body"): Asked => ({ reply: { kind: "answer", response: new Response(text) }, carrier: "good" });
const absent: Asked = { reply: { kind: "unsent", why: "no_agent" }, carrier: "absent" };
const lost: Asked = { reply: { kind: "lost", why: "carrier_lost" }, carrier: "lost" };
const dead: Asked = { reply: { kind: "lost", why: "upstream_lost" }, carrier: "good" };

interface Way {
  carrier: number;
  turn: number;
  from?: number;
}

/** Carriers that say one thing after the other, the last again and again; time passes only while it is waited. */
function world(says: Asked[], { count = 2, first = 0, gone = (): boolean => false } = {}) {
  const asked: Way[] = [];
  const waits: number[] = [];
  let now = 0;
  const ways = new Ways({
    count, first, gone,
    ask: (carrier, way) => (asked.push({ carrier, ...way }), Promise.resolve(says[asked.length - 1] ?? says.at(-1) ?? absent)),
    now: () => now,
    wait: (ms) => (waits.push(ms), (now += ms), Promise.resolve()),
  });
  return { ways, asked, waits };
}

const text = async (stream: ReadableStream<Uint8Array> | undefined): Promise<string | undefined> => stream && new Response(stream).text();

describe("Ways: to begin", () => {
  test.each<[string, Asked[], Way[]]>([
    ["one carrier that is good is all there is to it", [answer()], [{ carrier: 1, turn: 0 }]],
    ["a replica that is lost is no carrier's fault", [dead, answer()], [{ carrier: 1, turn: 0 }]],
    ["a carrier that is not there is replaced by the other", [absent, answer()], [{ carrier: 1, turn: 0 }, { carrier: 0, turn: 1 }]],
    ["row 20: a carrier that is lost is replaced by the other, which takes over what was begun", [lost, answer()], [{ carrier: 1, turn: 0 }, { carrier: 0, turn: 1 }]],
    ["when none is there nobody is waited for", [absent], [{ carrier: 1, turn: 0 }, { carrier: 0, turn: 1 }]],
  ])("%s", async (_, says, expected) => {
    const { ways, asked, waits } = world(says, { first: 1 });
    expect(await ways.begin()).toBe(says.at(expected.length - 1)?.reply ?? says.at(-1)?.reply);
    expect(asked).toEqual(expected);
    expect(waits).toEqual([]);
  });

  test("row 20: when a carrier was lost with it and no other is there, they are looked at again: the agent is on its way back", async () => {
    const { ways, asked, waits } = world([lost, absent, absent, absent, absent, answer()]);
    expect((await ways.begin()).kind).toBe("answer");
    expect(asked.map(({ carrier }) => carrier)).toEqual([0, 1, 0, 1, 0, 1]);
    expect(waits).toEqual([50, 100]);
  });
});

describe("Ways: to go on", () => {
  test("row 20: through another carrier first, at the byte that is next, by a later way", async () => {
    const { ways, asked } = world([answer(), answer("rest")]);
    await ways.begin();
    expect(await text(await ways.reattach(7))).toBe("rest");
    expect(asked).toEqual([{ carrier: 0, turn: 0 }, { carrier: 1, turn: 1, from: 7 }]);
  });

  test("row 20: an only carrier is asked again", async () => {
    const { ways, asked } = world([answer(), absent, answer("rest")], { count: 1 });
    await ways.begin();
    expect(await text(await ways.reattach(7))).toBe("rest");
    expect(asked.map(({ carrier, turn }) => [carrier, turn])).toEqual([[0, 0], [0, 1], [0, 2]]);
  });

  test("row 20: an answer is gone on with as often as it breaks off, if it came further", async () => {
    const { ways, asked } = world([answer()]);
    await ways.begin();
    for (let i = 1; i <= 20; i++) expect(await ways.reattach(i)).toBeDefined();
    expect(asked.at(-1)).toEqual({ carrier: 0, turn: 20, from: 20 });
  });

  test("row 37: an answer that never comes further is given up", async () => {
    const { ways, asked } = world([answer()]);
    await ways.begin();
    const got = [];
    for (let i = 0; i < 5; i++) got.push((await ways.reattach(7)) !== undefined);
    expect(got).toEqual([true, true, true, false, false]);
    expect(asked.length).toBe(4);
  });

  test("row 37: what the agent does not have any more is given up at once", async () => {
    const { ways, asked, waits } = world([answer(), { reply: { kind: "lost", why: "gone" }, carrier: "good" }]);
    await ways.begin();
    expect(await ways.reattach(7)).toBeUndefined();
    expect([asked.length, waits]).toEqual([2, []]);
  });

  test("row 13: an agent that does not come back is given up in time", async () => {
    const { ways, waits } = world([answer(), lost]);
    await ways.begin();
    expect(await ways.reattach(7)).toBeUndefined();
    expect(waits.reduce((sum, ms) => sum + ms, 0)).toBeLessThanOrEqual(linkTimes.reattachMs);
    expect(linkTimes.reattachMs + 2 * linkTimes.dispatchAckMs).toBeLessThanOrEqual(linkTimes.parkMs);
  });

  test("row 26: nothing more is asked for when nobody waits for it", async () => {
    let left = false;
    const { ways, asked } = world([answer(), absent], { gone: () => left });
    await ways.begin();
    left = true;
    expect(await ways.reattach(7)).toBeUndefined();
    expect(asked.length).toBe(1);
  });
});
