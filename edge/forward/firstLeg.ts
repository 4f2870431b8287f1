import type { Routing } from "../../schema/bundle.ts";
import type { Candidate } from "../route/candidates.ts";
import { Delivered } from "./delivered.ts";
import { FirstLeg } from "./passage.ts";
import { askOf, wantsIds, withIds, type Ask } from "./resume.ts";
import type { Sending } from "./sending.ts";
import { Watch } from "./watch.ts";

/** How a request is sent at first so that its stream may go on elsewhere. */
export interface FirstLegs {
  ask: Ask;
  sending: (candidate: Candidate) => Sending;
  watch: (candidate: Candidate) => () => Watch;
}

/** @returns undefined for a request whose stream does not go on elsewhere */
export function firstLegOf(onStreamLoss: Routing["onStreamLoss"], sending: Sending): FirstLegs | undefined {
  const { parsed, body, path } = sending;
  if (onStreamLoss === "error" || parsed === undefined || typeof body !== "string") return undefined;
  const ask = askOf(path, parsed, body);
  if (ask === undefined) return undefined;
  // worked out once, however many upstreams are asked
  let wanted: boolean | undefined;
  let asking: Sending | undefined;
  const byIds = ({ continuation }: Candidate): boolean => continuation === "tokens" && (wanted ??= wantsIds(ask));
  const strip = ask.ids && ask.usage ? undefined : { ids: !ask.ids, usage: !ask.usage };
  return {
    ask,
    sending: (candidate) => (byIds(candidate) ? (asking ??= { ...sending, ...withIds(ask) }) : sending),
    watch: (candidate) => () => new Watch(new FirstLeg(ask, new Delivered(), byIds(candidate) ? strip : undefined)),
  };
}
