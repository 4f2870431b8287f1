import type { Clock } from "../schema/clock.ts";
import type { Region } from "../schema/region.ts";
import type { Database } from "./db.ts";
import type { Edge } from "./edge.ts";
import type { Publisher } from "./publish.ts";
import type { Vault } from "./secrets.ts";

/** What the routes work with. */
export interface Context {
  db: Database;
  edge: Edge;
  publisher: Publisher;
  vault: Vault;
  /** Keys are stored as digests under it. */
  pepper: CryptoKey;
  clock: Clock;
  regions: readonly Region[];
  /** Where clients reach the edge; without a slash at its end. */
  publicUrl: string;
  /** Where agents dial. */
  fleetUrl: string;
  log: (line: string) => void;
}
