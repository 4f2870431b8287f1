/**
 * Placement zones. The names are Cloudflare's location hints (facts/cloudflare.md §2) and `local` for a world on one machine;
 * the places are rough centres, enough to say which hub is nearest.
 */
export const regions = {
  wnam: { latitude: 40, longitude: -119 },
  enam: { latitude: 40, longitude: -78 },
  sam: { latitude: -20, longitude: -51 },
  weur: { latitude: 49, longitude: 4 },
  eeur: { latitude: 51, longitude: 22 },
  apac: { latitude: 25, longitude: 114 },
  oc: { latitude: -32, longitude: 148 },
  afr: { latitude: -8, longitude: 26 },
  me: { latitude: 25, longitude: 50 },
  local: { latitude: 0, longitude: 0 },
} as const;

export type Region = keyof typeof regions;

export function isRegion(name: string): name is Region {
  return Object.hasOwn(regions, name);
}

/**
 * The regions an operator names, as in `weur,enam`.
 *
 * @throws Error naming the region that is unknown, or when none is named
 */
export function parseRegions(text: string): Region[] {
  const names = text.split(",").map((name) => name.trim()).filter((name) => name !== "");
  for (const name of names) {
    if (!isRegion(name)) throw new Error(`Cannot use region "${name}": it is none of ${Object.keys(regions).join(", ")}`);
  }
  if (names.length === 0) throw new Error("Cannot start without a region: FAIRLEAD_REGIONS is empty");
  return names.filter(isRegion);
}

/** Where a request entered, in degrees; `request.cf` gives both as text, and neither on one machine. */
export interface Place {
  latitude: number;
  longitude: number;
}

/** The region whose centre is nearest on the globe; the first where the place is unknown. */
export function nearestRegion(place: Place | undefined, from: readonly Region[]): Region {
  const first = from[0];
  if (first === undefined) throw new Error("Cannot choose a region: none is named");
  if (place === undefined) return first;
  const radians = Math.PI / 180;
  let best = first;
  let bestCosine = -2;
  for (const region of from) {
    const centre = regions[region];
    // the spherical law of cosines: a larger cosine is a shorter way
    const cosine =
      Math.sin(place.latitude * radians) * Math.sin(centre.latitude * radians) +
      Math.cos(place.latitude * radians) * Math.cos(centre.latitude * radians) * Math.cos((place.longitude - centre.longitude) * radians);
    if (cosine > bestCosine) [best, bestCosine] = [region, cosine];
  }
  return best;
}
