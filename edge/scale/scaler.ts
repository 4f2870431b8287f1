import { DurableObject } from "cloudflare:workers";
import type { RegionFacts } from "../../schema/scale.ts";
import type { FleetEnv } from "../env.ts";
import { regionsOf } from "../regions.ts";
import { within } from "../within.ts";
import { look, retryMs, type Kept } from "./look.ts";

/** A look that went wrong is repeated after so long. */
const againMs = 5_000;
/** A Hub that does not answer within it is done without: its region's facts are missing then, which is a fact too. */
const answerMs = 2_000;
/** Whatever happens, two looks are so far apart: a crowd of held requests wakes the Scaler once. */
const spacingMs = 200;

/**
 * One per service: asks the Hubs what is going on, decides what there should be (`look`), and tells the Hubs.
 *
 * Its alarm is its clock. Between alarms it may be put away: all that it needs is in storage (`kept`), written before anybody is told,
 * so that what was told is never forgotten. With nothing to expect it has no alarm, and a Hub wakes it.
 */
export class Scaler extends DurableObject<FleetEnv> {
  readonly #service: string;
  #looking: Promise<void> | undefined;
  #again = false;
  #lookedAt = 0;

  constructor(ctx: DurableObjectState, env: FleetEnv) {
    super(ctx, env);
    this.#service = ctx.id.name ?? "";
    if (this.#service === "") throw new Error("Cannot start a Scaler without a name: it is its service's");
  }

  /** There is something to see: requests wait, or the configuration is another. */
  async wake(): Promise<void> {
    await this.#look();
  }

  override async alarm(): Promise<void> {
    await this.#look();
  }

  /** One look at a time; what comes meanwhile is one more look afterwards. */
  async #look(): Promise<void> {
    if (this.#looking !== undefined) {
      this.#again = true;
      return this.#looking;
    }
    this.#looking = this.#looks().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #looks(): Promise<void> {
    do {
      this.#again = false;
      const waitMs = this.#lookedAt + spacingMs - Date.now();
      if (waitMs > 0 && waitMs <= spacingMs) await scheduler.wait(waitMs);
      this.#lookedAt = Date.now();
      await this.#once();
    } while (this.#again);
  }

  async #once(): Promise<void> {
    const regions = regionsOf(this.env);
    const answers = await Promise.allSettled(regions.map((region) => within(this.env.HUB.getByName(region).scaleFacts(this.#service), answerMs)));
    const facts = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value as RegionFacts] : []));
    const now = Date.now();
    try {
      const before = JSON.parse(this.ctx.storage.kv.get<string>("kept") ?? `{"generation":0}`) as Kept;
      const { kept, behind, nextMs } = look(before, facts, regions, now, Math.random);
      this.ctx.storage.kv.put("kept", JSON.stringify(kept));
      const { desire } = kept;
      const told = desire === undefined ? [] : await Promise.allSettled(behind.map((region) => within(this.env.HUB.getByName(region).desire(desire), answerMs)));
      const dueMs = told.some(({ status }) => status === "rejected") ? Math.min(nextMs ?? Infinity, retryMs) : nextMs;
      if (dueMs === undefined) await this.ctx.storage.deleteAlarm();
      else await this.ctx.storage.setAlarm(now + dueMs);
    } catch (error) {
      console.error(JSON.stringify({ message: "a look at a service failed", service: this.#service, error: String(error) }));
      await this.ctx.storage.setAlarm(now + againMs);
    }
  }
}
