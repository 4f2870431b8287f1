/**
 * A GPU host of the benchmark: the agent's own links and carrying, in front of the upstream, without processes to start and watch.
 * Argument: `HostJob` as JSON.
 */
import { createPrivateKey, sign } from "node:crypto";
import { loopbackPorts, carryHttp } from "../../agent/carry.ts";
import { openGate } from "../../agent/gate.ts";
import { heartbeat } from "../../agent/heartbeat.ts";
import { openLink } from "../../agent/link.ts";
import { createLog } from "../../agent/log.ts";
import { openRelays } from "../../agent/relay.ts";
import { systemTimers } from "../../agent/timers.ts";
import { systemClock } from "../../schema/clock.ts";
import { freePort } from "./port.ts";
import type { AssignedReplica, ReplicaState } from "../../schema/protocol.ts";

export interface HostJob {
  /** Origin of the fleet Worker. */
  fleet: string;
  host: string;
  /** PKCS 8, PEM. */
  privateKey: string;
  upstreamPort: number;
  /** The edge calls its gate. */
  gate?: boolean;
}

const job = JSON.parse(process.argv[2] ?? "") as HostJob;
const key = createPrivateKey(job.privateKey);
const log = createLog({ level: "info", clock: systemClock, write: (line) => process.stderr.write(`${line}\n`) });
const common = { clock: systemClock, random: Math.random, timers: systemTimers, log, url: job.fleet.replace(/^http/, "ws"), host: job.host };
const ports = loopbackPorts();
let assigned: readonly AssignedReplica[] = [];
let generation = 0;

const ready = (replica: AssignedReplica): ReplicaState => ({ ...replica, phase: "ready", since: 0, restarts: 0, wasReady: true, inFlight: 0, port: job.upstreamPort });

const relays = openRelays({
  ...common,
  count: 2,
  answererOf: () => ({ carry: (head, wire) => carryHttp(head, job.upstreamPort, ports.to(job.upstreamPort), wire) }),
  askTickets: () => link.askTickets(),
  onChange: () => link.changed(),
});
const gatePort = job.gate === true ? await freePort() : 0;
const gate = job.gate === true ? await openGate({ ...common, host: "127.0.0.1", port: gatePort, url: `http://127.0.0.1:${gatePort}`, hostId: job.host, answererOf: (head) => relays.answererOf(head), monotonic: () => performance.now() }) : undefined;
const link = openLink({
  ...common,
  region: "local",
  agentVersion: "bench",
  sign: async (text) => sign(null, Buffer.from(text), key).toString("base64"),
  heartbeat: (epoch) => heartbeat({ epoch, generation, relays: relays.open, draining: false, replicas: assigned.map(ready), ...(gate === undefined ? {} : { direct: { url: gate.url } }) }),
  onGate: (given) => gate?.admit(given),
  onTickets: (tickets) => relays.tickets(tickets),
  onAssign(assign) {
    generation = assign.generation;
    assigned = assign.replicas;
    link.changed();
  },
});
