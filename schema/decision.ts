import { z } from "zod";
import { strategies } from "./bundle.ts";

/** How a stream that was lost can go on, best first: from its token ids, from its text, or by the same answer once more. */
export const methods = ["exact", "text", "regenerate"] as const;
export type Method = (typeof methods)[number];

/** One attempt, for whoever asks why. */
export const triedSchema = z.object({
  id: z.string(),
  outcome: z.string(),
  /** To its first byte, or to its failure without one. */
  ms: z.number(),
  /** It had begun to answer: the client has got some of it. */
  midway: z.boolean().optional(),
  /** How it was to go on with an answer that another had begun. */
  method: z.enum(methods).optional(),
  /** It was begun because another one was silent. */
  hedge: z.boolean().optional(),
  /** A relay of its host did not answer, and it went by another one. */
  detour: z.boolean().optional(),
});

/** Of all candidates a record names the first ones, in the order in which they were to be tried. */
export const candidatesToldMax = 8;

const scoreSchema = z.object({
  /** 0..1. */
  total: z.number(),
  /** By scorer, each 0..1. */
  parts: z.record(z.string(), z.number()),
});

const weighedSchema = z.object({
  strategy: z.enum(strategies),
  /** Replicas were there, and each was over its bounds. */
  saturated: z.boolean(),
  /** The pick first, then those that take over from it. Of many only the best have a score. */
  candidates: z.array(z.object({ id: z.string(), upstream: z.string(), score: scoreSchema.optional() })),
  /** Why upstreams were left out, by id. */
  filtered: z.record(z.string(), z.string()),
});

/** Which upstreams a request could go to, and why in this order. */
export type Weighed = z.infer<typeof weighedSchema>;

/** What became of one request, as the isolate that served it tells its Hub. It holds nothing of prompt, answer or key. */
export const decisionRecordSchema = weighedSchema.extend({
  requestId: z.string(),
  /** When it came, in ms since the epoch. */
  at: z.number(),
  service: z.string(),
  /** As the client named it. */
  model: z.string(),
  account: z.string(),
  /** How long it waited for a replica before it was sent anywhere; absent: it did not wait. */
  heldMs: z.number().nonnegative().optional(),
  attempts: z.array(triedSchema),
  /** Of the answer, as the client got it. */
  status: z.number().int(),
  /** Why nobody did, or why a begun answer ended with an error: as the client was told. */
  reason: z.string().optional(),
  /** Who answered, to the end; absent when nobody did. */
  upstream: z.string().optional(),
  /** From the request to the answer's first byte; to its end where more than one gave it or it ended with an error. */
  ms: z.number(),
});
export type DecisionRecord = z.infer<typeof decisionRecordSchema>;

/** What one Hub knows of a request. */
export interface Recalled {
  decision?: DecisionRecord;
  /** Decisions that it remembers now, and the most that it does. */
  kept: number;
  keptMax: number;
  /** Since when it has been remembering (ms since the epoch): a restart forgets. */
  since: number;
}

/** A request that is weighed and not sent. */
export const dryRunSchema = z.strictObject({
  /** As a client would send it. */
  body: z.record(z.string(), z.unknown()),
  /** Instead of the body's. */
  model: z.string().min(1).optional(),
  account: z.string().min(1).max(64).default("default"),
});
export type DryRun = z.input<typeof dryRunSchema>;

/** What would become of it now, as one isolate sees the fleet. */
export const dryRunAnswerSchema = weighedSchema.extend({ service: z.string(), model: z.string(), account: z.string() });
export type DryRunAnswer = z.infer<typeof dryRunAnswerSchema>;
