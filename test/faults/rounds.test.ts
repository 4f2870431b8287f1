import { expect, test } from "vitest";
import { until } from "../e2e/world.ts";
import { clusterUnderLoad, type Survivor } from "../chaos/underLoad.ts";

const rounds = 6;
const streams = 40;

const cluster = clusterUnderLoad();

/** How long the longest pauses were after the kill, of those that went on by another Relay and of those that had no need to. */
function told(all: readonly Survivor[]): string {
  return [true, false].map((reattached) => {
    const pauses = all.filter((one) => one.reattached === reattached).map(({ pauseMs }) => pauseMs).toSorted((a, b) => a - b);
    const at = (share: number): number => pauses[Math.min(pauses.length - 1, Math.floor(share * pauses.length))] ?? Number.NaN;
    return `${pauses.length} streams ${reattached ? "whose Relay was killed" : "beside them"}: longest pause p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`;
  }).join("\n");
}

test(`row 20: ${rounds} times kill -9 of the workerd with a host's second Relay, another one started at once, ${streams} streams each time: none is broken`, async () => {
  const { world, host, load } = cluster;
  const all: Survivor[] = [];
  for (let round = 0; round < rounds; round++) {
    // the one that was started gets the Relay when the lease of the one that was killed is over
    await until("both data links, and the second one at its place", 60_000, async () => (await host.seen())?.relays.length === 2 && world.objectsOf("west") === 1);
    const { streams: survivors, expected, cost } = await load.streamsThrough(() => world.killPlace("west"), streams);
    world.startPlace("west");
    expect(survivors.filter(({ text, done, errors, roles }) => text !== expected || !done || errors > 0 || roles !== 1)).toEqual([]);
    expect(cost).toEqual({ tokens: 0, aborted: 0 });
    all.push(...survivors);
  }
  expect(all.filter(({ reattached }) => reattached).length).toBeGreaterThan(rounds);
  console.log(told(all));
}, 300_000);
