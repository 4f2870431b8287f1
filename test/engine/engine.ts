import { FailurePlan } from "./failures.ts";
import { KvCache } from "./kv.ts";
import { expose, ownerOf } from "./exposition.ts";
import { Counters } from "./metrics.ts";
import { Refusal } from "./refusal.ts";
import { RequestLog } from "./requestlog.ts";
import type { Model } from "./sampler.ts";
import { Scheduler } from "./scheduler.ts";
import type { Settings } from "./settings.ts";

/** What one engine holds: its models, its cache, who runs and waits, whether it sleeps. */
export class Engine {
  readonly settings: Settings;
  readonly kv: KvCache;
  readonly scheduler: Scheduler;
  readonly counters = new Counters();
  readonly failures: FailurePlan;
  readonly log: RequestLog;
  readonly startedAt = Math.floor(Date.now() / 1000);
  readonly #adapters = new Map<string, string>();
  #sleepLevel: number | undefined;
  #weightsLost = false;
  #abort = new AbortController();

  constructor(settings: Settings) {
    this.settings = settings;
    this.kv = new KvCache(settings.kvBlocks, settings.blockSize);
    this.scheduler = new Scheduler(settings.slots, this.kv);
    this.failures = new FailurePlan(settings.failure);
    this.log = new RequestLog(() => ({ running: this.scheduler.running, waiting: this.scheduler.waiting }));
  }

  get #names(): string[] {
    return [this.settings.model, ...this.settings.servedNames];
  }

  /** The model of that name, or the engine's own when none is named, as vLLM allows. */
  model(name: string | undefined | null): Model & { served: string } {
    const { seed, reasoning } = this.settings;
    const served = name ?? this.settings.model;
    if (!this.#names.includes(served) && !this.#adapters.has(served)) throw new Refusal(404, `The model \`${served}\` does not exist.`, "model");
    const own = this.#adapters.has(served) ? served : this.settings.model;
    return { name: this.#weightsLost ? `${own} without weights` : own, seed, reasoning, served };
  }

  /** `/v1/models`. */
  get cards(): object[] {
    const permission = [{ id: `modelperm-${this.settings.seed}`, object: "model_permission", created: this.startedAt, allow_create_engine: false, allow_sampling: true, allow_logprobs: true, allow_search_indices: false, allow_view: true, allow_fine_tuning: false, organization: "*", group: null, is_blocking: false }];
    const card = (id: string, root: string, parent: string | null): object => ({ id, object: "model", created: this.startedAt, owned_by: ownerOf(this.settings.metricsAs), root, parent, max_model_len: parent === null ? this.settings.contextTokensMax : null, permission });
    return [...this.#names.map((name) => card(name, this.settings.model, null)), ...[...this.#adapters].map(([name, path]) => card(name, path, this.settings.model))];
  }

  loadAdapter(name: unknown, path: unknown): string {
    if (typeof name !== "string" || typeof path !== "string" || name === "" || path === "") throw new Refusal(400, "Both 'lora_name' and 'lora_path' must be provided.", null, "InvalidUserInput");
    if (this.#adapters.has(name)) throw new Refusal(400, `The lora adapter '${name}' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True.`, null, "InvalidUserInput");
    if (this.#adapters.size >= this.settings.maxLoras) throw new Refusal(400, `Cannot load more than ${this.settings.maxLoras} adapters.`);
    this.#adapters.set(name, path);
    return `Success: LoRA adapter '${name}' added successfully.`;
  }

  unloadAdapter(name: unknown): string {
    if (typeof name !== "string" || !this.#adapters.delete(name)) throw new Refusal(404, `The lora adapter '${String(name)}' cannot be found.`);
    return `Success: LoRA adapter '${name}' removed successfully.`;
  }

  get sleeping(): boolean {
    return this.#sleepLevel !== undefined;
  }

  /** Aborts when the engine gives up what runs. */
  get abortSignal(): AbortSignal {
    return this.#abort.signal;
  }

  /** @param mode `abort` gives up what runs; `wait` lets it end first */
  async sleep(level: number, mode: string): Promise<void> {
    if (mode === "abort") this.abortAll();
    else await this.log.reached("running:0,waiting:0", AbortSignal.timeout(600_000));
    this.#sleepLevel = level;
    if (level >= 1) this.kv.clear();
    if (level >= 2) this.#weightsLost = true;
  }

  /** After level 2 the answers are gibberish until `reloadWeights`, as vLLM's are. */
  wake(): void {
    this.#sleepLevel = undefined;
  }

  reloadWeights(): void {
    this.#weightsLost = false;
  }

  abortAll(): void {
    const old = this.#abort;
    this.#abort = new AbortController();
    old.abort();
  }

  /** Prometheus text; undefined where it has none. */
  metrics(): string | undefined {
    const { kv, scheduler, settings } = this;
    return expose(settings.metricsAs, settings.model, this.counters, {
      running: scheduler.running,
      waiting: scheduler.waiting,
      kvUsage: kv.usage,
      queriedTokens: kv.queriedTokens,
      hitTokens: kv.hitTokens,
      preemptions: kv.overcommitted,
      blockSize: kv.blockSize,
      blockCount: kv.blockCount,
      sleeping: settings.devMode ? this.sleeping : undefined,
      adapters: [...this.#adapters.keys()],
      adaptersMax: settings.maxLoras,
    });
  }
}
