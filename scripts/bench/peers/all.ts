import { bifrost } from "./bifrost.ts";
import { direct } from "./direct.ts";
import { fairlead } from "./fairlead.ts";
import { litellm } from "./litellm.ts";
import { nginx } from "./nginx.ts";
import type { Peer } from "./peer.ts";
import { portkey, portkeyImage } from "./portkey.ts";
import { workerd, workerdReads } from "./workerd.ts";

/** In the order in which they take turns and stand in the tables. */
export const peers: Peer[] = [direct, workerd, workerdReads, fairlead, nginx, portkey, portkeyImage, litellm, bifrost];
