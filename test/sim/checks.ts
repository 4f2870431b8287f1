import type { Reassigned } from "../../edge/hub/assignments.ts";
import type { FleetService } from "../../schema/bundle.ts";
import type { ScalePolicy } from "../../schema/policy.ts";
import type { Desire } from "../../schema/scale.ts";
import type { HubPart, World } from "./world.ts";

/** Something that must hold does not. */
export class Violation extends Error {
  /** With the seed that brings it about again, and what happened last. */
  of(seed: number, lines: readonly string[]): Violation {
    return new Violation(`seed ${seed}: ${this.message}\nit replays exactly: node test/sim/replay.ts ${seed}\n${lines.slice(-30).join("\n")}`);
  }
}

/** After its last change a world has so long to come to rest: a lease, a cold start, a scale-down window and what lies between. */
export const settleMs = 1_500_000;

const serviceOf = ({ bundle }: World, name: string): FleetService | undefined => bundle.fleet.services.find(({ task }) => task.service === name);
const taskOf = (world: World, name: string): FleetService["task"] | undefined => serviceOf(world, name)?.task;

function policyOf(world: World, name: string): ScalePolicy {
  const policy = serviceOf(world, name)?.policy;
  if (policy === undefined) throw new Error(`Cannot judge "${name}": it has no policy`);
  return policy;
}

/** Where machines are lost as often as in these worlds, some request meets three losses in a row. */
const lostMax = 0.02;

/** What must hold in every world, whatever goes wrong. */
export class Checks {
  readonly #restMs: number | undefined;

  /** @param restMs from then on nothing goes wrong */
  constructor(restMs: number | undefined) {
    this.#restMs = restMs;
  }

  /** A Scaler wants something: never more than the highest bound allows, never fewer than the lowest. */
  desired(desire: Desire, before: Desire | undefined, _now: number, world: World): void {
    const policy = policyOf(world, desire.service);
    const { min, max } = policy;
    if (policy.schedule.length === 0 && (desire.desired > max || desire.desired < Math.min(min, max))) throw new Violation(`the Scaler wants ${desire.desired} of ${desire.service}: its bounds are ${min} and ${max}`);
    if (before !== undefined && desire.generation <= before.generation) throw new Violation(`generation ${desire.generation} follows ${before.generation}`);
    const all = Object.values(desire.regions).flat();
    const total = all.reduce((sum, { count }) => sum + count, 0);
    const surge = desire.rollout === undefined || desire.rollout.state === "done" ? 0 : max;
    const spotCover = policy.spot === undefined ? 0 : max;
    if (total > max + surge + spotCover) throw new Violation(`the Scaler places ${total} of ${desire.service}: at most ${max} are allowed`);
  }

  /** A Hub has changed lists: nothing is added beyond the highest bound, and while the brake is on nothing that serves is taken away. */
  placed(hub: HubPart, reassigned: readonly Reassigned[], now: number, world: World): void {
    for (const { name } of world.services) {
      const { max, schedule, spot } = policyOf(world, name);
      const digest = taskOf(world, name)?.digest;
      const current = hub.assigned(name).filter((replica) => replica.digest === digest).length;
      const isMore = reassigned.some(({ before, after }) => after.some((one) => one.service === name && one.digest === digest && before.every(({ id }) => id !== one.id)));
      if (isMore && current > max && schedule.length === 0 && spot === undefined && world.hubs.length === 1) throw new Violation(`${hub.region} has assigned ${current} of ${name} at ${now}: at most ${max} are allowed`);
    }
    if (!hub.braked) return;
    for (const { before, after, host } of reassigned) {
      const gone = before.find(({ id }) => after.every((one) => one.id !== id) && hub.isReady(host, id));
      if (gone !== undefined) throw new Violation(`${gone.id} is taken from ${host} at ${now} while the brake is on`);
    }
  }

  /** The world has come to rest: what is wanted is within bounds, has its place, and is ready. */
  end(world: World, scalers: ReadonlyMap<string, { desire: Desire | undefined }>, now: number): void {
    if (this.#restMs === undefined) return;
    if (now < this.#restMs + settleMs) throw new Error(`Cannot judge a world that rests from ${this.#restMs} ms on and ends at ${now}: it needs ${settleMs} ms`);
    for (const { name } of world.services) {
      const policy = policyOf(world, name);
      const { desire } = scalers.get(name) ?? {};
      const last = world.tally.moments.findLast(({ service }) => service === name);
      if (desire === undefined || last === undefined) throw new Violation(`nobody ever said how many of ${name} are wanted`);
      for (const hub of world.hubs) if (hub.generation(name) !== desire.generation) throw new Violation(`the Hub of ${hub.region} has generation ${hub.generation(name)} of ${name}, its Scaler ${desire.generation}`);
      if (last.desired < policy.min || last.desired > policy.max) throw new Violation(`${last.desired} of ${name} are wanted at rest, not ${policy.min} to ${policy.max}`);
      if (last.ready !== last.desired) throw new Violation(`${last.ready} of ${name} are ready at rest, ${last.desired} are wanted`);
      const { asked, answered, refused, failed, drained, cutByStop } = world.tally.of(name);
      // where a replica may drain for as long as a request may take, none is cut by that either
      const drainMs = taskOf(world, name)?.drainMs ?? 0;
      const cut = cutByStop + (drainMs >= world.service(name).route.timeouts.totalMs ? drained : 0);
      if (cut > 0) throw new Violation(`${cut} requests were cut by replicas that were told to stop`);
      if (failed > lostMax * asked) throw new Violation(`${failed} of ${asked} requests failed`);
      if (asked !== answered + refused + failed) throw new Violation(`of ${asked} requests ${answered} were answered, ${refused} refused and ${failed} failed`);
    }
  }
}
