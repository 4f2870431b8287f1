import type { Context } from "./context.ts";
import type { Rows } from "./db.ts";
import type { Publication } from "./publish.ts";
import { bundleVersion, raiseBundleVersion } from "./queries/bundle.ts";

/** A caller waits so long for its change to reach the edge, and is told when it has not: the change itself is safe. */
const publishWaitMs = 3_000;

export type Changed<T> = Publication & { result: T };

/**
 * Change what is published: the change and the new number of the configuration are one transaction, then the edge is told.
 *
 * @param isChange whether there is something to publish at all
 */
export async function change<T>({ db, publisher }: Context, work: (rows: Rows) => Promise<T>, isChange: (result: T) => boolean = () => true): Promise<Changed<T>> {
  const { result, version, raised } = await db.transact(async (rows) => {
    const done = await work(rows);
    const raise = isChange(done);
    return { result: done, raised: raise, version: raise ? await raiseBundleVersion(rows) : await bundleVersion(rows) };
  });
  if (raised) publisher.changed();
  return { ...(await publisher.reached(version, publishWaitMs)), result };
}
