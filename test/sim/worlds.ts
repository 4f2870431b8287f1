import { seeded, type Random } from "../../schema/clock.ts";
import type { Region } from "../../schema/region.ts";
import { settleMs } from "./checks.ts";
import { arrivals, stairs } from "./demand.ts";
import { between, oneOf, whole } from "./draw.ts";
import type { Fault, ServiceFacts, WorldFacts } from "./simulate.ts";
import type { SimHost } from "./world.ts";

/** Demand and faults end here. */
const busyMs = 600_000;

function hostsOf(random: Random): SimHost[] {
  const regions: Region[] = random() < 0.3 ? ["weur", "enam"] : ["weur"];
  return regions.flatMap((region) => {
    const count = whole(random, 3, 6);
    return Array.from({ length: count }, (_, i) => ({ id: `${region}-${i}`, region, zone: `${region}-${i % 2 === 0 ? "a" : "b"}`, spot: i % 3 > 0, gpus: whole(random, 1, 2), priceMicroUsd: 700_000 }));
  });
}

function policyOf(random: Random, room: number): ServiceFacts["policy"] {
  const max = whole(random, 1, Math.max(1, room - 2));
  const min = whole(random, 0, Math.min(2, max));
  const delays = { upscaleDelayMs: between(random, 0, 60_000), downscaleDelayMs: between(random, 30_000, 120_000) };
  const autoscaler = oneOf(random, ["adaptive", "request_rate", "concurrency", "slo", "fixed"]);
  return { autoscaler, min, max, targetQps: 1.25, targetConcurrency: 20, slo: { ttftMs: 2_000 }, ...(autoscaler === "request_rate" || random() < 0.3 ? delays : {}), ...(random() < 0.3 ? { spot: { baseOnDemand: whole(random, 0, 1), dynamicOnDemand: true, placer: oneOf(random, ["default", "spothedge"]) } } : {}) };
}

function faultOf(random: Random, hosts: readonly SimHost[]): Fault {
  const atMs = between(random, 30_000, busyMs * 0.7);
  const forMs = between(random, 5_000, 90_000);
  const some = (share: number): string[] => hosts.filter(() => random() < share).map(({ id }) => id);
  switch (whole(random, 0, 5)) {
    case 0:
      return { atMs, forMs: between(random, 60_000, 240_000), network: { lost: between(random, 0.01, 0.1), doubled: between(random, 0, 0.2), late: between(random, 0, 0.3) }, alarms: { doubled: random() * 0.5, late: random() * 0.5 } };
    case 1:
      return { atMs, forMs, cut: some(0.3) };
    case 2:
      return { atMs, forMs, cut: some(0.8) };
    case 3:
      return { atMs, hub: hosts[whole(random, 0, hosts.length - 1)]?.region ?? "weur", downMs: between(random, 500, 20_000) };
    case 4:
      return { atMs, crash: hosts[whole(random, 0, hosts.length - 1)]?.id ?? "", backMs: between(random, 10_000, 120_000) };
    default:
      return { atMs, reclaim: hosts[whole(random, 0, hosts.length - 1)]?.id ?? "", noticeMs: between(random, 5_000, 60_000), backMs: between(random, 90_000, 180_000) };
  }
}

/** What was not drawn at first, drawn last, so that a seed's hosts, demand and faults stay what they were. */
function widened(random: Random, service: ServiceFacts, hosts: readonly SimHost[]): { service: ServiceFacts; hosts: SimHost[] } {
  const { policy, updates = [] } = service;
  const other = random() < 0.25 ? oneOf(random, [{ autoscaler: "instance_aware", targetQps: { L4: 1.25 } }, { autoscaler: "queue_length" }] as const) : undefined;
  const overprovision = random() < 0.3 ? whole(random, 1, 2) : 0;
  // two sets side by side come to rest only where there is room for both
  const roomy = policy.spot === undefined && hosts.reduce((sum, { gpus }) => sum + gpus, 0) >= 2 * policy.max + 2;
  const mode = roomy ? oneOf(random, ["rolling", "blue_green", "canary"] as const) : "rolling";
  const neverReady = updates.some(({ sameDigest = false }) => !sameDigest) && random() < 0.3;
  // a host that its owner lets run nothing, and one whose disk is full for a while, each beside others
  const [stern, full] = [random() < 0.2, random() < 0.2];
  return {
    service: {
      ...service, policy: { ...policy, ...other, overprovision },
      ...(updates.length === 0 ? {} : { rollout: { mode, steps: [{ share: 0.2, forMs: 30_000 }, { share: 0.5, forMs: 30_000 }], keepMs: 30_000 } }),
      ...(neverReady ? { versions: { 2: { neverReady: true } } } : {}),
    },
    hosts: [
      ...hosts.map((host, i) => (full && i === 1 ? { ...host, disk: { fullFromMs: 0, untilMs: busyMs } } : host)),
      ...(stern ? [{ id: "stern", region: hosts[0]?.region ?? ("weur" as const), gpus: 1, refusal: "its owner allows nothing" }] : []),
    ],
  };
}

/** Any world: whatever a seed makes of hosts, a policy, demand and faults. All goes wrong in its first ten minutes, and then it has time to come to rest. */
export function worldOf(seed: number): WorldFacts {
  const random = seeded(seed);
  const hosts = hostsOf(random);
  const policy = policyOf(random, hosts.reduce((sum, { gpus }) => sum + gpus, 0));
  const max = policy.max;
  const rate = stairs([0, between(random, 0, max)], [between(random, 60_000, 300_000), between(random, 0, 1.5 * max)], [between(random, 300_000, 500_000), between(random, 0, max)]);
  const cv = oneOf(random, [1, 1, 4]);
  const updates = random() < 0.3 ? [{ atMs: between(random, 60_000, 300_000), sameDigest: random() < 0.3 }] : [];
  const world: WorldFacts = {
    seed, hosts,
    services: [{ name: "chat", policy, coldStartMs: { p50: 10_000, p95: 25_000 }, drainMs: 600_000, updates, ...(random() < 0.3 ? { provider: { ttftMs: { p50: 400, p95: 900 }, tpotMs: 20 } } : {}) }],
    demand: { chat: (own) => arrivals({ rate: (at) => Math.min(3, rate(at)), cv, untilMs: busyMs, random: own }) },
    faults: Array.from({ length: whole(random, 1, 5) }, () => faultOf(random, hosts)),
    restMs: busyMs,
    untilMs: busyMs + settleMs,
  };
  const wide = widened(random, world.services[0] as ServiceFacts, hosts);
  return { ...world, hosts: wide.hosts, services: [wide.service] };
}
