import { afterEach, describe, expect, test } from "vitest";
import { systemClock } from "../schema/clock.ts";
import { Metadata, type Fault, type Spoken } from "../test/metadata/metadata.ts";
import { createLog } from "./log.ts";
import { clouds, heedReclaim, watchReclaim, type ReclaimOptions } from "./reclaim.ts";
import type { Notice } from "./reclaim/notice.ts";
import { systemTimers } from "./timers.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).toReversed()) await clean();
});

async function until<T>(ask: () => T | undefined | false): Promise<T> {
  for (const end = Date.now() + 30_000; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 5))) {
    const value = ask();
    if (value !== undefined && value !== false) return value;
  }
  throw new Error(`not so within 10 s: ${ask.toString()}`);
}

/** A watch of a real server, a hundred times as often as of a cloud. */
async function watched(spoken: Spoken, cloud: ReclaimOptions["cloud"] = spoken, prepare: (metadata: Metadata) => void = () => undefined) {
  const metadata = await Metadata.start(spoken);
  prepare(metadata);
  const told: (Notice | undefined)[] = [];
  const lines: string[] = [];
  const log = createLog({ level: "info", clock: systemClock, write: (line) => lines.push(line) });
  const watching = watchReclaim({ cloud, baseUrl: metadata.url, onNotice: (notice) => told.push(notice), clock: systemClock, timers: { after: (ms, action) => systemTimers.after(ms / 100, action) }, log });
  cleanups.push(() => metadata.stop(), () => watching.close());
  return { metadata, told, lines };
}

const told: Record<Spoken, RegExp> = { aws: /AWS terminates/, gcp: /Google Cloud preempts/, azure: /Azure evicts/, alibaba: /Alibaba Cloud releases/ };
/** The path that tells of the end, and what it says when nothing is planned. */
const calm: Record<Spoken, [string, string | undefined]> = {
  aws: ["/latest/meta-data/spot/instance-action", undefined],
  gcp: ["/computeMetadata/v1/instance/preempted", "FALSE"],
  azure: ["/metadata/scheduledevents", '{"DocumentIncarnation":3,"Events":[]}'],
  alibaba: ["/latest/meta-data/instance/spot/termination-time", undefined],
};

describe.each(clouds)("the notices of %s", (cloud) => {
  test("are found out, told with their time, and told no longer when they are withdrawn", async () => {
    const { metadata, told: heard } = await watched(cloud, "auto");
    await until(() => metadata.asked.filter((path) => path.endsWith(calm[cloud][0])).length >= 2);
    expect(heard).toEqual([]);
    metadata.takeBack(30_000);
    const notice = await until(() => heard[0]);
    expect(notice).toMatchObject({ source: cloud, reason: expect.stringMatching(told[cloud]) as unknown });
    // to the second, as clouds tell it
    expect(Math.abs((notice.at ?? 0) - Date.now() - 30_000)).toBeLessThan(3_000);
    metadata.say(...calm[cloud]);
    await until(() => heard.length === 2);
    expect(heard[1]).toBeUndefined();
  });

  test.each<[string, Fault[]]>([["a refusal for asking too often", [429]], ["errors", [500, 503]], ["garbage", ["garbage"]]])("outlast %s", async (_, faults) => {
    const { metadata, told: heard, lines } = await watched(cloud);
    metadata.takeBack(30_000);
    await until(() => heard[0]);
    metadata.faults.push(...faults);
    // a held answer must end for the next question to come
    metadata.say("/unrelated", "");
    await until(() => metadata.faults.length === 0);
    await until(() => lines.some((line) => line.includes("cannot be read")));
    // what was known stands: nothing was learned
    expect(heard).toHaveLength(1);
    metadata.say(...calm[cloud]);
    await until(() => heard.length === 2);
    expect(heard[1]).toBeUndefined();
  });
});

test("a token that has expired is renewed, and asked for no oftener", async () => {
  const { metadata, told: heard } = await watched("aws", "aws", (one) => (one.tokenMs = 300));
  const tokens = (): number => metadata.asked.filter((path) => path.startsWith("PUT")).length;
  await until(() => tokens() >= 4);
  expect(metadata.asked.length).toBeGreaterThan(2 * tokens());
  metadata.takeBack(60_000);
  await until(() => heard[0]);
});

test("a service that hangs is asked again", async () => {
  const { metadata, told: heard } = await watched("aws", "aws", (one) => one.faults.push("hang", "hang"));
  metadata.takeBack(60_000);
  await until(() => heard[0]);
});

test("AWS's recommendation to leave is a notice without a time, and the interruption replaces it", async () => {
  const { metadata, told: heard } = await watched("aws");
  metadata.say("/latest/meta-data/events/recommendations/rebalance", '{"noticeTime": "2026-11-21T08:22:00Z"}');
  expect(await until(() => heard[0])).not.toHaveProperty("at");
  metadata.takeBack(120_000);
  expect((await until(() => heard[1])).at).toBeGreaterThan(Date.now());
});

test("Google's answers are held until there is news: questions do not multiply", async () => {
  const { metadata, told: heard } = await watched("gcp");
  await until(() => metadata.asked.length === 4);
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(metadata.asked).toHaveLength(4);
  metadata.takeBack(30_000);
  await until(() => heard[0]);
});

test("Azure's events of another machine, and freezes, are none of ours", async () => {
  const { metadata, told: heard } = await watched("azure");
  const event = (EventType: string, machine: string): object => ({ EventType, Resources: [machine], EventStatus: "Scheduled", NotBefore: new Date(Date.now() + 60_000).toUTCString() });
  metadata.say("/metadata/scheduledevents", JSON.stringify({ Events: [event("Preempt", "gpu_4"), event("Freeze", "gpu_3"), null, 7] }));
  const before = metadata.asked.length;
  await until(() => metadata.asked.length > before + 2);
  expect(heard).toEqual([]);
  metadata.say("/metadata/scheduledevents", JSON.stringify({ Events: [{ ...event("Terminate", "gpu_3"), EventStatus: "Started", NotBefore: "" }] }));
  expect((await until(() => heard[0])).at).toBeLessThanOrEqual(Date.now());
});

test("Alibaba's hardened mode is spoken to with tokens", async () => {
  const { metadata, told: heard } = await watched("alibaba", "auto", (one) => (one.hardened = true));
  await until(() => metadata.asked.some((path) => path.startsWith("PUT")));
  metadata.takeBack(300_000);
  await until(() => heard[0]);
});

test("a host whose clock is a day off counts by the cloud's", async () => {
  const { metadata, told: heard } = await watched("aws", "aws", (one) => (one.skewMs = 86_400_000));
  metadata.takeBack(120_000);
  const { at = 0 } = await until(() => heard[0]);
  expect(Math.abs(at - Date.now() - 120_000)).toBeLessThan(3_000);
});

test("no cloud: the host says so once and asks nobody any more", async () => {
  const { metadata, lines } = await watched("aws", "auto", (one) => one.faults.push(...Array.from({ length: 12 }, () => 404)));
  await until(() => lines.some((line) => line.includes("only SIGTERM drains it")));
  expect(metadata.asked).toHaveLength(12);
  expect(lines).toHaveLength(1);
});

describe("heedReclaim()", () => {
  test("tells at once, serves on, and drains in time to end before the host does", async () => {
    const metadata = await Metadata.start("aws");
    const steps: string[] = [];
    const log = createLog({ level: "error", clock: systemClock, write: () => undefined });
    const since = Date.now();
    let drained = 0;
    const reclaim = heedReclaim({
      cloud: "aws", baseUrl: metadata.url, clock: systemClock, timers: { after: (ms, action) => systemTimers.after(ms === 5_000 ? 20 : ms, action) }, log,
      drainMs: 1_000, killAfterMs: 500, onChange: () => steps.push(`changed, draining ${reclaim.draining}`),
      replicas: {
        reclaim: (reason) => steps.push(`reclaimed: ${reason}`),
        leave: async (ms) => {
          drained = Date.now() - since;
          steps.push(`leave within ${ms}`);
        },
      },
    });
    cleanups.push(() => metadata.stop(), () => reclaim.close());
    metadata.takeBack(6_000);
    await until(() => steps.length >= 2);
    expect(steps).toEqual(["reclaimed: AWS terminates this spot instance", "changed, draining false"]);
    expect(Date.now() - since).toBeLessThan(1_000);
    await until(() => steps.length === 4);
    expect(steps.slice(2)).toEqual(["changed, draining true", "leave within 1000"]);
    // 6 s, told in whole seconds, less 2 s for last words, 0.5 s to kill and 1 s to drain
    expect(drained).toBeGreaterThan(1_400);
    expect(drained).toBeLessThan(2_900);
    metadata.say(calm.aws[0], undefined);
    await until(() => steps.length === 6);
    expect(steps.slice(4)).toEqual(["reclaimed: undefined", "changed, draining false"]);
  });
});
