import { z } from "zod";

/** One line of what an engine says while it pulls an image (Engine API, POST /images/create). */
export const pullEventSchema = z.object({
  id: z.string().optional(),
  status: z.string().optional(),
  progressDetail: z.object({ current: z.number().optional(), total: z.number().optional() }).nullish(),
  error: z.string().optional(),
});
export type PullEvent = z.infer<typeof pullEventSchema>;

/** A layer's way: how much of it is here, and how much of that is unpacked. */
interface Layer {
  bytes: number | undefined;
  loaded: number;
  unpacked: number;
}

/**
 * Follows a pull.
 *
 * @returns a function that takes an event and says how far the pull is, in words; undefined for what says nothing of that
 * @example pullProgress("x:1")({ id: "a", status: "Downloading", progressDetail: { current: 43, total: 100 } }) // "pulling x:1: 43 %"
 */
export function pullProgress(image: string): (event: PullEvent) => string | undefined {
  const layers = new Map<string, Layer>();
  let furthest = 0;

  return ({ id, status = "", progressDetail }) => {
    if (id === undefined) return undefined;
    const layer = layers.get(id) ?? { bytes: undefined, loaded: 0, unpacked: 0 };
    const share = progressDetail?.current !== undefined && progressDetail.total !== undefined && progressDetail.total > 0 ? Math.min(1, progressDetail.current / progressDetail.total) : 0;
    switch (status) {
      case "Pulling fs layer":
      case "Waiting":
        break;
      case "Downloading":
        layer.bytes ??= progressDetail?.total;
        layer.loaded = Math.max(layer.loaded, share);
        break;
      case "Verifying Checksum":
      case "Download complete":
        layer.loaded = 1;
        break;
      case "Extracting":
        layer.loaded = 1;
        layer.unpacked = Math.max(layer.unpacked, share);
        break;
      case "Pull complete":
        layer.loaded = layer.unpacked = 1;
        break;
      // the image's own lines, and layers that are here already
      default:
        return undefined;
    }
    layers.set(id, layer);
    const all = [...layers.values()];
    const loaded = weighed(all, ({ loaded }) => loaded);
    if (loaded === 100) return `unpacking ${image}: ${weighed(all, ({ unpacked }) => unpacked)} %`;
    // layers become known late: what was said is not taken back
    furthest = Math.max(furthest, loaded);
    return `pulling ${image}: ${furthest} %`;
  };
}

/** A percentage over layers by their sizes; one whose size is not known yet counts as the mean of the others. */
function weighed(layers: readonly Layer[], share: (layer: Layer) => number): number {
  const known = layers.flatMap(({ bytes }) => bytes ?? []);
  const mean = known.length === 0 ? 1 : known.reduce((sum, bytes) => sum + bytes, 0) / known.length;
  let [done, all] = [0, 0];
  for (const layer of layers) {
    const bytes = layer.bytes ?? mean;
    done += bytes * share(layer);
    all += bytes;
  }
  return all === 0 ? 0 : Math.floor((done / all) * 100);
}
