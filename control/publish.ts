import { backoffMs, type Clock, type Random } from "../schema/clock.ts";
import type { Region } from "../schema/region.ts";
import { compile } from "./compile.ts";
import type { Database } from "./db.ts";
import type { Edge, PutAnswer } from "./edge.ts";
import { raiseBundleVersion, readPublished, type Published } from "./queries/bundle.ts";
import { sealService, type SealedService, type Vault } from "./secrets.ts";

/** Whether a change has reached the edge, and if not, why. */
export interface Publication {
  published: boolean;
  /** The edge will not take it, however often it is sent: something must change first. */
  refused?: boolean;
  reason?: string;
}

export interface Publisher {
  /** Something changed: publish, soon. Many changes at once are one publication, of the latest state. */
  changed(): void;
  /** Wait until the edge has this version or a later one, refuses it, or the time (ms) is over. */
  reached(version: number, timeoutMs: number): Promise<Publication>;
  close(): void;
}

export interface PublisherOptions {
  db: Database;
  edge: Edge;
  vault: Vault;
  regions: readonly Region[];
  clock: Clock;
  random?: Random;
  log?: (line: string) => void;
}

/** Why a change has not reached an edge that has said nothing of it. */
const unanswered = "the edge has not answered yet";

/**
 * Bring the configuration to the edge, whole, after each change and for ever: an edge that is away is tried again with growing
 * gaps, and the one that comes back is given the latest state.
 */
export function createPublisher({ db, edge, vault, regions, clock, random = Math.random, log = console.error }: PublisherOptions): Publisher {
  let dirty = false;
  let running = false;
  const closing = new AbortController();
  /** The last version that the edge took, and the last that it refused for good. */
  let taken = 0;
  let refused = 0;
  let reason = unanswered;
  let wake = (): void => undefined;
  let watchers: (() => void)[] = [];

  const tell = () => {
    for (const watcher of watchers) watcher();
  };

  async function publishOnce(): Promise<{ version: number; answer: PutAnswer }> {
    const published = await db.transact(readPublished);
    const sealed = await sealAll(vault, published).catch((error: Error) => error);
    if (sealed instanceof Error) return { version: published.version, answer: { kind: "invalid", reason: sealed.message } };
    return { version: published.version, answer: await edge.put(compile(published, sealed, regions, clock.now())) };
  }

  async function run(): Promise<void> {
    let staleInARow = 0;
    for (let attempt = 0; dirty && !closing.signal.aborted; ) {
      dirty = false;
      const { version, answer } = await publishOnce().catch((error: Error) => ({ version: 0, answer: { kind: "unreachable", reason: error.message } as const }));
      if (answer.kind === "taken") {
        if (attempt > 0) log(`control: published configuration ${version} after ${attempt + 1} attempts`);
        taken = Math.max(taken, version);
        reason = unanswered;
        [attempt, staleInARow] = [0, 0];
      } else if (answer.kind === "stale") {
        // the edge remembers more than this database: an older copy of it was restored
        await db.transact((rows) => raiseBundleVersion(rows, answer.version));
        dirty = true;
        // more than once in a row is another control, or an edge that does not say its number: no hurry then
        if (staleInARow++ > 0) await pause(backoffMs(staleInARow, random));
      } else if (answer.kind === "invalid") {
        [refused, reason] = [Math.max(refused, version), answer.reason];
        log(`control: Cannot publish configuration ${version}: ${reason}`);
      } else {
        if (reason !== answer.reason) log(`control: Cannot publish configuration, will go on trying: ${answer.reason}`);
        reason = answer.reason;
        dirty = true;
        await pause(backoffMs(attempt++, random));
      }
      tell();
    }
  }

  /** Wait, or less when something changes. */
  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  function changed(): void {
    dirty = true;
    wake();
    if (running || closing.signal.aborted) return;
    running = true;
    void run().catch((error: Error) => log(`control: Cannot publish the configuration: ${error.message}`)).finally(() => {
      running = false;
      // a change that came while the last round was ending
      if (dirty && !closing.signal.aborted) changed();
    });
  }

  return {
    changed,
    reached(version, timeoutMs) {
      return new Promise((resolve) => {
        const finish = (publication: Publication) => {
          clearTimeout(timer);
          watchers = watchers.filter((watcher) => watcher !== look);
          resolve(publication);
        };
        const look = () => {
          if (taken >= version) finish({ published: true });
          else if (refused >= version) finish({ published: false, refused: true, reason });
          else if (closing.signal.aborted) finish({ published: false, reason });
        };
        const timer = setTimeout(() => finish({ published: false, reason }), timeoutMs);
        watchers.push(look);
        look();
      });
    },
    close() {
      closing.abort();
      wake();
      tell();
    },
  };
}

async function sealAll(vault: Vault, { services, hosts }: Published): Promise<Map<string, SealedService>> {
  const sealed = new Map<string, SealedService>();
  for (const row of services) sealed.set(row.name, await sealService(vault, row, hosts));
  return sealed;
}
