import { z } from "zod";
import { parseDuration } from "./units.ts";

/** Values as people write them in a service file. A field without a value counts as absent. */
export const count = z.number().int().min(0).nullish();
/** Weights and prices, in any unit: beyond it sums and micro-dollars would not be exact any more. */
export const amount = z.number().min(0).max(1_000_000).nullish();

/** As long as a timer runs, in ms: it counts in 32 bits (HTML's `setTimeout`, and Node's), and one that is set for longer ends at once. */
const timerMsMax = 2 ** 31 - 1;
const dayMs = 86_400_000;

/** Seconds as a bare number, as SkyServe has them. */
export const seconds = z.number().min(0).max(Math.floor(timerMsMax / 1000)).nullish();

/** True or false; YAML 1.1, which SkyPilot reads, has other words for them. */
export const flag = z.union([z.boolean(), z.string()]).transform((written, context) => {
  const word = typeof written === "string" ? written.toLowerCase() : written;
  if (typeof word === "boolean") return word;
  if (word === "yes" || word === "on") return true;
  if (word === "no" || word === "off") return false;
  context.addIssue({ code: "custom", message: "must be true or false" });
  return z.NEVER;
});

const durationOf = (least: "positive" | "zero", mostMs = timerMsMax) =>
  z.union([z.string(), z.number()]).transform((written, context) => {
    // a bare number would be taken for seconds by some and for milliseconds by others
    const ms = typeof written === "string" ? parseDuration(written) : undefined;
    if (ms !== undefined && ms <= mostMs && (ms > 0 || least === "zero")) return ms;
    context.addIssue({ code: "custom", message: ms !== undefined && ms > mostMs ? `must be at most ${Math.floor(mostMs / dayMs)} days` : "must be a duration such as 250ms, 3s, 2m or 1h" });
    return z.NEVER;
  });

/** In milliseconds. */
export const durationSchema = durationOf("positive");
/** The same, and `0s` for not at all. */
export const waitSchema = durationOf("zero");
/** What no timer counts. */
export const spanSchema = durationOf("positive", 366 * dayMs);

/** A share of a whole, `5%` or `0.05`, as 0..1. */
export const shareSchema = z.union([z.string(), z.number()]).transform((written, context) => {
  const percent = typeof written === "string" ? /^(\d+(?:\.\d+)?)\s*%$/.exec(written.trim())?.[1] : undefined;
  const share = percent === undefined ? written : Number(percent) / 100;
  if (typeof share === "number" && share >= 0 && share <= 1) return share;
  context.addIssue({ code: "custom", message: "must be a share such as 5% or 0.05" });
  return z.NEVER;
});
