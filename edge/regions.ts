import { parseRegions, type Region } from "../schema/region.ts";

let text = "";
let list: Region[] = [];

/** The regions in use; parsed once per isolate. @throws Error naming a region that is unknown */
export function regionsOf(env: { FAIRLEAD_REGIONS: string }): Region[] {
  if (env.FAIRLEAD_REGIONS !== text) {
    list = parseRegions(env.FAIRLEAD_REGIONS);
    text = env.FAIRLEAD_REGIONS;
  }
  return list;
}
