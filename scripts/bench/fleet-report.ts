import type { Answers } from "./answers.ts";
import { mainConnections } from "./answers.ts";
import type { HubFigures, Taker, ViewSample } from "./fleet-hub.ts";
import type { HerdSample, LossSample } from "./fleet-loss.ts";
import { rssPerStreamKiB, type OpenSample } from "./open.ts";
import { median } from "./quantile.ts";
import { difference, medianAgainst, medianOf, ratio, type Rounds } from "./rounds.ts";
import { atOnce, fewAtOnce, type AtOnce, type Streams, type StreamsSample } from "./streams.ts";
import { figure, table } from "./table.ts";
import { floorOf, type Target } from "./targets.ts";

type Heartbeats = Pick<HubFigures, "joining" | "heartbeats">;

export interface FleetFigures {
  heartbeats: Heartbeats[];
  view?: ViewSample;
  losses?: LossSample[];
  herd?: HerdSample;
  streams?: Streams;
  /** Paced, few at once. */
  few?: AtOnce[];
  answers?: Answers;
  open?: Rounds<OpenSample>;
}

const takers: Taker[] = ["bare", "hub"];

export function heartbeatsReport(all: Heartbeats[]): string {
  const head = ["", "agents", "joined/s", "CPU ms/join", "KB/agent", "heartbeats/s", "CPU us each", "x bare", "core"];
  const rows = all.flatMap(({ joining, heartbeats }) =>
    takers.map((taker) => {
      const own = heartbeats[taker];
      const against = median(own.map(({ cpuUsPerHeartbeat }, round) => cpuUsPerHeartbeat / (heartbeats.bare[round]?.cpuUsPerHeartbeat ?? Number.NaN)));
      const [first] = joining[taker];
      return [
        taker, String(first?.agents ?? 0), figure(first?.joinedPerS ?? Number.NaN, 0), figure(first?.cpuMsPerAgent ?? Number.NaN, 2), figure(first?.rssKiBPerAgent ?? Number.NaN, 0),
        figure(median(own.map(({ sentPerS }) => sentPerS)), 0), figure(median(own.map(({ cpuUsPerHeartbeat }) => cpuUsPerHeartbeat)), 0), figure(against, 2), figure(median(own.map(({ core }) => core)), 3),
      ];
    }),
  );
  return `Heartbeats each 5 s with a ping beside them, and the joining before; median of rounds\n${table(head, rows)}`;
}

export function viewReport({ hosts, replicas, snapshotKiB, cpuMsPerRefresh, refreshMs }: ViewSample): string {
  return `A snapshot of ${replicas} replicas on ${hosts} hosts\n${table(["KB", "CPU ms/refresh", "ms"], [[figure(snapshotKiB, 0), figure(cpuMsPerRefresh, 1), figure(refreshMs, 1)]])}`;
}

export function lossReport(losses: LossSample[]): string {
  const rows = losses.map(({ loss, trafficMs, slowestMs, failed, idleMs }) => [loss, figure(trafficMs, 0), figure(slowestMs, 0), String(failed), figure(idleMs, 0)]);
  return `One of two hosts is lost; ms since\n${table(["", "last request that met it", "slowest answer", "failed", "out of routing, idle"], rows)}`;
}

export function herdReport({ agents, awayMs, backMs, peakPerS, steadyPerS }: HerdSample): string {
  return `${agents} agents lose their Hub for ${figure(awayMs, 0)} ms\n${table(["all back after ms", "peak/s", "steady/s", "x steady"], [[figure(backMs, 0), figure(peakPerS, 0), figure(steadyPerS, 0), figure(peakPerS / steadyPerS, 2)]])}`;
}

/** What a bare object takes a small message for, in us: what the tenth of a core was said beside (facts/cloudflare.md, "What things cost": 15 to 50). */
const bareUs = 50;

/**
 * Heartbeats are judged as a ratio: a core of one machine is ten of another, so what a Hub takes is counted in what a bare object takes in
 * the same run, and that at 50 us.
 */
function heartbeatTargets(all: readonly Heartbeats[]): Target[] {
  return all.map(({ joining, heartbeats: { hub, bare } }) => {
    const agents = joining.hub[0]?.agents ?? 0;
    // a tenth of a core for 1,000, two thirds for 10,000
    const most = agents <= 1_000 ? agents / 10_000 : agents / 15_000;
    const ratios = hub.map(({ cpuUsPerHeartbeat }, round) => cpuUsPerHeartbeat / (bare[round]?.cpuUsPerHeartbeat ?? Number.NaN));
    const perS = median(hub.map(({ sentPerS }) => sentPerS));
    return target(`heartbeats of ${agents} agents on ${figure(most, 2)} of a core, where a bare object takes one in ${bareUs} us`, (median(ratios) * bareUs * perS) / 1e6, " core", most);
  });
}

const target = (text: string, measured: number, unit: string, most: number, floor?: number): Target => ({ text, measured, unit, met: measured <= most, ...floorOf("a relay that only carries", floor) });

/** The longest of them, s. */
function worst(losses: readonly LossSample[] | undefined, ms: (sample: LossSample) => number): number {
  return losses === undefined || losses.length === 0 ? Number.NaN : Math.max(...losses.map(ms)) / 1_000;
}

/**
 * What a relay adds to the time to the first token, and what one that only carries adds to a bare pass-through: in ms, and in what the bare
 * pass-through's own takes in the same run, for a machine that others use has no milliseconds. The number was set where that took 1.0 ms
 * (facts/cloudflare.md, "What things cost").
 */
function addedTtft(count: number, rounds: Rounds<StreamsSample> = new Map()): Target[] {
  const added = (name: string, to: string): number => medianAgainst(rounds, name, to, (s) => s.ttftP50Ms, difference);
  const addedMs = added("relay", "provider");
  const floorMs = added("relay-bare", "workerd");
  const bareMs = medianOf(rounds, "workerd", (s) => s.ttftP50Ms);
  const what = count === 1 ? "one stream at a time" : `${count} streams at once`;
  return [
    target(`relay: added TTFT p50 <= 1 ms, ${what}`, addedMs, " ms", 1, floorMs),
    target(`relay: added TTFT p50 <= a bare pass-through's TTFT, ${what}`, addedMs / bareMs, "x", 1, floorMs / bareMs),
  ];
}

/** What the fleet is to reach, and what this run says of it. */
export function fleetTargets({ heartbeats, losses, herd, streams, few, answers, open }: FleetFigures): Target[] {
  const paced: Streams extends Map<number, infer R> ? R : never = streams?.get(10) ?? new Map();
  const unpaced: typeof paced = streams?.get(0) ?? new Map();
  const whole: Answers extends Map<number, infer R> ? R : never = answers?.get(mainConnections) ?? new Map();
  const chunk = (rounds: typeof paced, name: string, to: string): number => medianAgainst(rounds, name, to, (s) => s.cpuMsPer1000Chunks, ratio);
  const request = (name: string, to: string): number => medianAgainst(whole, name, to, (s) => s.cpuUsPerRequest, ratio);
  const killed = losses?.filter(({ loss }) => loss === "killed");
  return [
    ...heartbeatTargets(heartbeats),
    target("a killed host leaves routing with traffic within 1 s", worst(killed, ({ trafficMs }) => trafficMs), " s", 1),
    target("and without traffic within 15 s", worst(losses, ({ idleMs }) => idleMs), " s", 15.5),
    target("1,000 agents back within 10 s", herd?.agents !== 1_000 ? Number.NaN : herd.backMs / 1_000, " s", 10),
    target("at no more than twice the steady rate", herd?.agents !== 1_000 ? Number.NaN : herd.peakPerS / herd.steadyPerS, "x", 2),
    ...fewAtOnce.flatMap((count) => addedTtft(count, few?.find((some) => some.atOnce === count)?.rounds)),
    ...addedTtft(atOnce, paced),
    target("relay: CPU per chunk, paced, <= 1.8x direct", chunk(paced, "relay", "provider"), "x", 1.8, chunk(paced, "relay-bare", "workerd")),
    target("relay: CPU per chunk, unpaced, <= 1x direct", chunk(unpaced, "relay", "provider"), "x", 1, chunk(unpaced, "relay-bare", "workerd")),
    target("relay: CPU per JSON request <= 1.7x direct", request("relay", "provider"), "x", 1.7, request("relay-bare", "workerd")),
    target("relay: added delay per chunk p50 <= 1 ms", medianAgainst(paced, "relay", "provider", (s) => s.gapP50Ms, difference), " ms", 1),
    target("relay: memory per open stream <= 256 KB", medianOf(open ?? new Map<string, OpenSample[]>(), "relay", rssPerStreamKiB), " KB", 256),
  ];
}

/** What bounds a Relay: its unpaced stream, and how much of the core that took. */
export function capacityLine(streams: Streams): string {
  const rounds = streams.get(0);
  if (rounds === undefined) return "";
  const per = (name: string): string => `${name} ${figure(medianOf(rounds, name, (s) => (s.chunks / s.durationMs) * 1_000), 0)}/s on ${figure(medianOf(rounds, name, (s) => s.proxyCore * 100), 0)} % of the core`;
  return `chunks, unpaced: ${["provider", "relay", "gate"].map(per).join(", ")}; two Relay objects share the router's thread here, so below 100 % it is the agent, the upstream or the load that bounds it`;
}
