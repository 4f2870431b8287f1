import { Away } from "./failure.ts";
import type { Progress } from "./progress.ts";

/**
 * A look at something that is waited for, undefined while control cannot be had: what is under way goes on without it, and so does the
 * waiting, for as long as it was given.
 *
 * @throws what the look throws otherwise
 */
export async function lookAgain<T>(look: () => Promise<T>, progress: Pick<Progress, "waiting">): Promise<T | undefined> {
  try {
    return await look();
  } catch (error) {
    if (!(error instanceof Away)) throw error;
    progress.waiting(`${error.message}; it is asked again`);
    return undefined;
  }
}
