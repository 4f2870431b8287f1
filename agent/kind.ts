import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { warmMax, type KindSaid } from "../schema/protocol.ts";
import { acceleratorOf } from "./accelerator.ts";
import type { Log } from "./log.ts";
import type { CloudKind } from "./reclaim/kind.ts";

export interface KindOptions {
  /** The agent's state folder: digests that were ready here are remembered there (`warm.json`). */
  state: string;
  /** What the owner wrote down: it counts before whatever is found out. */
  config: Pick<KindSaid, "zone" | "spot" | "accelerator" | "priceMicroUsd">;
  /** The GPUs as they were read last. */
  gpus: () => readonly { name?: string | undefined }[];
  onChange: () => void;
  log: Log;
}

export interface Kind {
  /** What a heartbeat says; what is not known is absent. */
  readonly now: KindSaid;
  /** The cloud has told of this machine. */
  told(kind: CloudKind): void;
  /** A replica of this digest is ready: its weights are here from now on. */
  ready(digest: string): void;
}

/** The digests with one more at the front; as many as are told. */
export function warmed(before: readonly string[], digest: string): string[] {
  return [digest, ...before.filter((one) => one !== digest)].slice(0, warmMax);
}

/** What kind of host this is, and what it is warm for. */
export async function keepKind({ state, config, gpus, onChange, log }: KindOptions): Promise<Kind> {
  const file = join(state, "warm.json");
  let warm = await readFile(file, "utf8").then(digestsIn, () => [] as string[]);
  let cloud: CloudKind = {};
  let writing = Promise.resolve();
  return {
    get now() {
      const { zone = cloud.zone, spot = cloud.spot, accelerator = acceleratorOf(gpus()), priceMicroUsd } = config;
      return {
        ...(zone === undefined ? {} : { zone }), ...(spot === undefined ? {} : { spot }), ...(accelerator === undefined ? {} : { accelerator }),
        ...(priceMicroUsd === undefined ? {} : { priceMicroUsd }), ...(warm.length === 0 ? {} : { warm }),
      };
    },
    told(kind) {
      cloud = kind;
      log.info("the cloud says what kind of host this is", { ...kind });
      onChange();
    },
    ready(digest) {
      if (warm[0] === digest) return;
      warm = warmed(warm, digest);
      const text = JSON.stringify(warm);
      // whole or not at all: a file that is cut off would forget everything
      writing = writing.then(() => writeFile(`${file}.new`, text)).then(() => rename(`${file}.new`, file)).catch((error: unknown) => log.warn("what is warm here cannot be remembered", { problem: String(error) }));
      onChange();
    },
  };
}

/** A file that cannot be read remembers nothing. */
function digestsIn(text: string): string[] {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value.filter((one): one is string => typeof one === "string" && one.length <= 128).slice(0, warmMax) : [];
  } catch {
    return [];
  }
}
