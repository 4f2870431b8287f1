/**
 * Agents' control links as they are, many in one process: who comes back, and when. Argument: `HerdJob` as JSON. `/told` answers with
 * `HerdTold`; `/forget` begins a new count.
 */
import { createPrivateKey, sign } from "node:crypto";
import { createServer } from "node:http";
import { setTimeout as wait } from "node:timers/promises";
import { heartbeat } from "../../agent/heartbeat.ts";
import { openLink } from "../../agent/link.ts";
import { createLog } from "../../agent/log.ts";
import { systemTimers } from "../../agent/timers.ts";
import { systemClock } from "../../schema/clock.ts";
import { hostId } from "./fleet-links.ts";

export interface HerdJob {
  port: number;
  /** `ws:` origin of the fleet Worker. */
  url: string;
  privateKey: string;
  agents: number;
}

export interface HerdTold {
  up: number;
  /** When the Hub answered a connection, ms since the epoch, since the last count was begun. */
  connectedAt: number[];
  welcomedAt: number[];
}

const job = JSON.parse(process.argv[2] ?? "") as HerdJob;
const key = createPrivateKey(job.privateKey);
const log = createLog({ level: "error", clock: systemClock, write: (line) => process.stderr.write(`${line}\n`) });
const told: Omit<HerdTold, "up"> = { connectedAt: [], welcomedAt: [] };
const links: ReturnType<typeof openLink>[] = [];

const server = createServer((request, response) => {
  if (request.url === "/forget") {
    told.connectedAt = [];
    told.welcomedAt = [];
  }
  response.end(JSON.stringify({ ...told, up: links.filter(({ up }) => up).length } satisfies HerdTold));
});
server.listen(job.port, "127.0.0.1");

for (let i = 0; i < job.agents; i++) {
  links.push(openLink({
    url: job.url, host: hostId(i), region: "local", agentVersion: "bench", clock: systemClock, random: Math.random, timers: systemTimers, log,
    sign: async (text) => {
      told.connectedAt.push(Date.now());
      return sign(null, Buffer.from(text), key).toString("base64");
    },
    heartbeat: (epoch) => heartbeat({ epoch, generation: 0, relays: [0, 1], draining: false, replicas: [] }),
    onTickets: () => told.welcomedAt.push(Date.now()),
    onAssign: () => undefined,
  }));
  // as hosts are started one after the other
  await wait(5);
}
