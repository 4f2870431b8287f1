import { look, type Kept } from "../../edge/scale/look.ts";
import type { Random } from "../../schema/clock.ts";
import type { Region } from "../../schema/region.ts";
import type { Desire, RegionFacts } from "../../schema/scale.ts";
import type { World } from "./world.ts";

/** As `edge/scale/scaler.ts`: a Hub that does not answer within it is done without. */
const answerMs = 2_000;
/** And two looks are so far apart. */
const spacingMs = 200;

/** What its world does to a Scaler's alarms. */
export interface Alarms {
  /** Shares, 0..1: rings twice; rings up to ten seconds late. */
  doubled: number;
  late: number;
}

const lateMsMax = 10_000;

/** A service's Scaler: the real `look` at what Hubs answer; alarms, calls and storage are made up. It is put away between any two looks. */
export class SimScaler {
  readonly #world: World;
  readonly #service: string;
  readonly #random: Random;
  alarms: Alarms = { doubled: 0, late: 0 };
  /** Its storage. */
  #kept: Kept = { generation: 0 };
  /** What is kept goes through text each time, so that nothing but JSON outlives a look: as it is, and half the time of a long world. */
  readonly #asText: boolean;
  #alarm = Number.POSITIVE_INFINITY;
  #looking = false;
  #again = false;
  #lookedAt = Number.NEGATIVE_INFINITY;
  /** The last answer of each region that came too late for its look, or twice. */
  readonly #stale = new Map<Region, RegionFacts>();
  desire: Desire | undefined;

  constructor(world: World, service: string, random: Random, { asText }: { asText: boolean }) {
    this.#asText = asText;
    this.#world = world;
    this.#service = service;
    this.#random = random;
  }

  wake(): void {
    if (this.#looking) {
      this.#again = true;
      return;
    }
    this.#looking = true;
    this.#world.agenda.add(this.#lookedAt + spacingMs, () => this.#look());
  }

  #look(): void {
    const { agenda, channel, hubs } = this.#world;
    this.#lookedAt = agenda.now;
    const facts = new Map<Region, RegionFacts>();
    let over = false;
    const conclude = (): void => {
      if (over) return;
      over = true;
      // one that was not heard now may have been heard late: a report out of its turn must do no harm
      for (const [region, late] of this.#stale) if (!facts.has(region)) facts.set(region, late);
      this.#stale.clear();
      this.#conclude([...facts.values()]);
    };
    for (const hub of hubs) {
      channel.post(() => {
        if (!hub.up) return;
        const answer = hub.scaleFacts(this.#service);
        channel.post(() => {
          if (over) this.#stale.set(hub.region, answer);
          else facts.set(hub.region, answer);
          if (facts.size === hubs.length) conclude();
        });
      });
    }
    agenda.after(answerMs, conclude);
  }

  #conclude(facts: readonly RegionFacts[]): void {
    const { agenda, channel, hubs, random } = this.#world;
    const { kept, behind, nextMs } = look(this.#kept, facts, hubs.map(({ region }) => region), agenda.now, random);
    this.#kept = this.#asText ? (JSON.parse(JSON.stringify(kept)) as Kept) : kept;
    const { desire } = kept;
    if (desire !== undefined && desire.generation !== this.desire?.generation) this.#world.desired(desire, this.desire, agenda.now);
    this.desire = desire;
    for (const hub of hubs) if (desire !== undefined && behind.includes(hub.region)) channel.post(() => hub.desire(desire));
    this.#looking = false;
    this.#alarm = Number.POSITIVE_INFINITY;
    if (nextMs !== undefined) this.#ringAt(agenda.now + nextMs);
    if (this.#again) {
      this.#again = false;
      this.wake();
    }
  }

  #ringAt(at: number): void {
    const { late, doubled } = this.alarms;
    this.#alarm = late > 0 && this.#random() < late ? at + this.#random() * lateMsMax : at;
    const due = this.#alarm;
    this.#world.agenda.add(due, () => {
      if (this.#alarm === due) this.wake();
    });
    if (doubled > 0 && this.#random() < doubled) this.#world.agenda.add(due + 1, () => this.wake());
  }
}
