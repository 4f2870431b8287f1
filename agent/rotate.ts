import { rotatedSchema, type Rotate } from "../schema/api.ts";
import type { Clock, Random } from "../schema/clock.ts";
import { keyTimes, rotateText } from "../schema/protocol.ts";
import { beginRotation, findControl, IdentityError, keyAge, loadIdentity, signWith } from "./identity.ts";
import { askControl } from "./join.ts";
import type { Log } from "./log.ts";
import type { Timers } from "./timers.ts";

/**
 * Gives this host new keys: made here, proved by the old one and by themselves, and used once control has taken them. The old one
 * counts for a day beside the new, so that a hub that has not heard of it lets the host in; replicas and links go on as they are.
 *
 * @param control its address, where the host does not know it
 * @returns until when the old key counts (ms since the epoch, by control's clock)
 * @throws IdentityError with what is wrong, in words
 */
export async function rotate(state: string, control: string | undefined, clock: Clock): Promise<number> {
  const { host } = await loadIdentity(state);
  const address = control ?? (await findControl(state));
  if (address === undefined) throw new IdentityError("Cannot rotate: this host joined before it kept control's address; give it by --control URL");
  const { old, next, done } = await beginRotation(state, clock.now());
  const text = rotateText(host, old.signPublic, next.signPublic, next.sealPublic);
  const request: Rotate = { host, publicKey: next.signPublic, sealKey: next.sealPublic, signature: await signWith(next, text), previousSignature: await signWith(old, text) };
  const { answer, url } = await askControl(address, "/v1/enrol/rotate", request, "rotate");
  const rotated = rotatedSchema.safeParse(answer);
  if (!rotated.success) throw new IdentityError(`Cannot rotate: ${url} gave an answer that is none`);
  await done();
  return rotated.data.previousUntil;
}

/** Keys are looked at so often; an hour more or less spreads a fleet that joined together. */
const lookMs = 6 * 3_600_000;
/** From the start of an agent: not while everything else begins. */
const firstLookMs = 60_000;

/** Renews the host's keys by itself when they are half-way through their life, and ends a rotation that was cut short. */
export function keepKeysFresh({ state, clock, timers, random, log }: { state: string; clock: Clock; timers: Timers; random: Random; log: Log }): { close(): void } {
  let closed = false;
  const look = async (): Promise<void> => {
    try {
      const { ms, begun } = await keyAge(state, clock.now());
      if (!begun && ms < keyTimes.renewMs) return;
      await rotate(state, undefined, clock);
      log.info("this host has new keys", { ageDays: Math.floor(ms / 86_400_000) });
    } catch (error) {
      log.warn("this host's keys could not be renewed, will try again", { problem: error instanceof Error ? error.message : String(error) });
    }
  };
  const again = (ms: number): void => {
    cancel = timers.after(ms, () => void look().finally(() => !closed && again(lookMs * (1 + random() / 6))));
  };
  let cancel = (): void => undefined;
  again(firstLookMs);
  return {
    close() {
      closed = true;
      cancel();
    },
  };
}
