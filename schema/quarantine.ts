import { z } from "zod";

/** How long a request that costs replicas their lives is refused (facts/failures.md §1, row 33). */
export const quarantineMs = 600_000;

/** Requests that are refused at most: of one account, so that no account's crowd out another's, and of all. */
export const quarantinedMax = { account: 100, all: 1_000 } as const;

/** A request that is refused because replicas died of it. It says nothing of the request but a hash that only its account can make. */
export const quarantineSchema = z.object({
  account: z.string().min(1).max(200),
  /** `edge/forward/poison.ts`, `fingerprint`. */
  fingerprint: z.string().regex(/^[0-9a-f]{16}$/),
  /** ms since the epoch. */
  until: z.number().int().positive(),
});
export type Quarantine = z.infer<typeof quarantineSchema>;

/** What an isolate tells a Hub at once. */
export const quarantinesSchema = z.array(quarantineSchema).max(quarantinedMax.account);
