import { expect, test } from "vitest";
import { terminationTime } from "./alibaba.ts";
import { instanceAction, rebalance } from "./aws.ts";
import { scheduled } from "./azure.ts";
import { maintenance, preempted } from "./gcp.ts";
import { planOf, soonest, timeOf, type Answer, type Notice } from "./notice.ts";

const answer = (body: string): Answer => ({ status: 200, body, header: () => undefined });
const now = 1_000_000;

test.each<[string, unknown, unknown]>([
  ["AWS: an interruption", instanceAction(answer('{"action":"stop","time":"1970-01-01T00:20:00Z"}')), { notice: { source: "aws", at: 1_200_000, reason: "AWS stops this spot instance" } }],
  ["AWS: an action of tomorrow", instanceAction(answer('{"action":"vanish","time":"1970-01-01T00:20:00Z"}')), { notice: { source: "aws", at: 1_200_000, reason: "AWS takes back this spot instance" } }],
  ["AWS: no time", instanceAction(answer('{"action":"stop"}')), undefined],
  ["AWS: no object", instanceAction(answer("[1]")), undefined],
  ["AWS: a page", rebalance(answer("<html>")), undefined],
  ["GCP: not yet", preempted("FALSE", now), null],
  ["GCP: now", preempted("TRUE", now), { source: "gcp", at: now + 30_000, reason: "Google Cloud preempts this instance" }],
  ["GCP: neither", preempted("maybe", now), undefined],
  ["GCP: it migrates and lives on", maintenance("MIGRATE_ON_HOST_MAINTENANCE"), null],
  ["GCP: it cannot migrate", maintenance("TERMINATE_ON_HOST_MAINTENANCE"), { source: "gcp", reason: "Google Cloud ends this instance for maintenance" }],
  ["Azure: none", scheduled('{"Events":[]}', "a", now), null],
  ["Azure: no list", scheduled('{"Events":{}}', "a", now), undefined],
  ["Azure: the earliest", scheduled('{"Events":[{"EventType":"Reboot","Resources":["a"],"NotBefore":"Thu, 01 Jan 1970 00:30:00 GMT"},{"EventType":"Preempt","Resources":["a"],"NotBefore":"Thu, 01 Jan 1970 00:20:00 GMT"}]}', "a", now), { source: "azure", at: 1_200_000, reason: "Azure evicts this spot machine" }],
  ["Alibaba: a time", terminationTime(answer("1970-01-01T00:20:00Z\n")), { notice: { source: "alibaba", at: 1_200_000, reason: "Alibaba Cloud releases this spot instance" } }],
  ["Alibaba: none", terminationTime(answer("soon")), undefined],
])("%s", (_, read, expected) => {
  expect(read).toEqual(expected);
});

test.each([["2026-11-21T08:22:00Z", Date.UTC(2026, 10, 21, 8, 22)], ["", undefined], [7, undefined], [undefined, undefined]])("timeOf(%j)", (text, at) => {
  expect(timeOf(text)).toBe(at);
});

test("soonest() takes the one that says when over the one that does not, and the earlier of two", () => {
  const notice = (reason: string, at?: number): Notice => ({ source: "x", reason, ...(at === undefined ? {} : { at }) });
  expect(soonest([undefined, notice("a"), notice("b", 5), notice("c", 3)])?.reason).toBe("c");
  expect(soonest([undefined, notice("a")])?.reason).toBe("a");
  expect(soonest([])).toBeUndefined();
});

const times = { drainMs: 30_000, killAfterMs: 5_000 };
test.each<[string, number | undefined, { drainAt: number; drainMs: number } | undefined]>([
  ["two minutes: it serves for 83 s, drains for 30 s, ends 7 s before", 120_000, { drainAt: now + 83_000, drainMs: 30_000 }],
  ["30 s: it drains at once, for 23 s", 30_000, { drainAt: now, drainMs: 23_000 }],
  ["5 s: nothing is waited for", 5_000, { drainAt: now, drainMs: 0 }],
  ["too late", -60_000, { drainAt: now, drainMs: 0 }],
  ["no time: only the hub moves anything", undefined, undefined],
])("planOf() with %s", (_, inMs, plan) => {
  expect(planOf({ source: "x", reason: "y", ...(inMs === undefined ? {} : { at: now + inMs }) }, now, times)).toEqual(plan);
});
