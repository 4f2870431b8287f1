import { Hono, type Context as RouteContext } from "hono";
import { z } from "zod";
import { tailMax } from "../../schema/api.ts";
import { FairleadError } from "../../schema/errors.ts";
import { isAlive } from "../../schema/replica.ts";
import type { StatusReplica } from "../../schema/snapshot.ts";
import { check } from "../body.ts";
import type { Context } from "../context.ts";
import type { LogOptions } from "../edge.ts";
import { mergeLogs, type NamedLog } from "../logLines.ts";
import { listHosts } from "../queries/hosts.ts";
import { findService } from "../queries/services.ts";
import { findReplica } from "../replicaName.ts";
import { toldLog } from "../toldLog.ts";
import { unknownService } from "./services.ts";
import { askEdge } from "./status.ts";

const yes = z.enum(["0", "1", "true", "false"]).default("0").transform((text) => text === "1" || text === "true");

const querySchema = z.object({
  tail: z.coerce.number<string>().int().min(0).max(tailMax).default(200),
  follow: yes,
  raw: yes,
  /** `controller`: what agents and hubs did about it. `load-balancer`: its requests. */
  source: z.enum(["replicas", "controller", "load-balancer"]).default("replicas"),
});

/** A log that is opened, or why it cannot be. */
type Opened = NamedLog | { name: string; problem: string };

function open(name: string, stream: Promise<ReadableStream<Uint8Array>>): Promise<Opened> {
  return stream.then(
    (found) => ({ name, stream: found }),
    (error: Error) => ({ name, problem: error.message }),
  );
}

/** All that could be opened as one answer, with a line for each that could not. @throws FairleadError when none could */
async function answerWith(c: RouteContext, logs: readonly Promise<Opened>[], ended: AbortController, action: string, inOrder = false): Promise<Response> {
  const opened = await Promise.all(logs);
  const [problem] = opened.flatMap((log) => ("problem" in log ? [`${log.name}: ${log.problem}`] : []));
  const streams = opened.map((log) => ("stream" in log ? log : { name: log.name, stream: new Blob([`fairlead: cannot show the log of ${log.name}: ${log.problem}\n`]).stream() }));
  if (problem !== undefined && opened.every((log) => "problem" in log)) throw new FairleadError("provider_unreachable", `${action}: ${problem}`);
  return c.body(mergeLogs(streams, () => ended.abort(), inOrder), 200, { "content-type": "text/plain; charset=utf-8", "x-accel-buffering": "no" });
}

function endedWith(c: RouteContext): AbortController {
  const ended = new AbortController();
  c.req.raw.signal.addEventListener("abort", () => ended.abort());
  return ended;
}

/**
 * A service's logs: what its replicas print (`?replica=` names one, and may be given more than once; without it all that run, or the last
 * one that did), what agents and hubs did about it, or its requests.
 */
export function logRoutes({ db, edge, regions }: Context): Hono {
  const routes = new Hono();

  routes.get("/:name/logs", async (c) => {
    const { name } = c.req.param();
    const action = `Cannot show the logs of service "${name}"`;
    const { tail, follow, raw, source } = check({ tail: c.req.query("tail"), follow: c.req.query("follow"), raw: c.req.query("raw"), source: c.req.query("source") }, querySchema, action);
    const named = c.req.queries("replica") ?? [];
    if (source !== "replicas" && named.length > 0) throw new FairleadError("invalid_request", `${action}: a replica is named, and its ${source === "controller" ? "controller's" : "load balancer's"} log is the whole service's`, { param: "replica" });
    const asked = await askEdge(edge);
    if (!asked.reachable) throw new FairleadError("not_ready", `${action}: ${asked.reason}`);
    const replicas = asked.regions.flatMap((region) => region.replicas).filter(({ service }) => service === name);
    if (replicas.length === 0 && (await findService(db.rows, name)) === undefined) throw unknownService("show the logs of", name);
    const ended = endedWith(c);
    const options: LogOptions = { tail, follow, raw, signal: ended.signal };
    switch (source) {
      case "replicas":
        return answerWith(c, choose(name, replicas, named).map((replica) => open(replica.id, edge.logs(replica.host, replica.id, options))), ended, action);
      case "load-balancer":
        return answerWith(c, [open("requests", toldLog({ edge, kind: "requests", service: name, tail, follow, signal: ended.signal }))], ended, action);
      case "controller": {
        const hosts = new Map(replicas.map(({ host, hostName }) => [host, hostName]));
        const agents = [...hosts].map(([host, hostName]) => open(hostName, edge.agentLog(host, name, options)));
        return answerWith(c, [open("hub", toldLog({ edge, kind: "journal", service: name, tail, follow, signal: ended.signal })), ...agents], ended, action, !follow);
      }
    }
  });

  return routes;

  function choose(service: string, replicas: readonly StatusReplica[], names: readonly string[]): StatusReplica[] {
    if (names.length > 0) {
      const chosen = names.map((name) => {
        const found = findReplica(service, name, replicas, regions);
        const replica = "id" in found ? replicas.find(({ id }) => id === found.id) : undefined;
        if (replica === undefined) throw new FairleadError("not_found", `Cannot show the log of replica "${name}" of service "${service}": ${"problem" in found ? found.problem : "there is no such replica"}`, { param: "replica" });
        return replica;
      });
      return [...new Set(chosen)];
    }
    const alive = replicas.filter(({ phase }) => isAlive(phase));
    if (alive.length > 0) return alive;
    const last = replicas.toSorted((a, b) => b.since - a.since)[0];
    if (last === undefined) throw new FairleadError("no_replica", `Cannot show the logs of service "${service}": it has no replica`);
    return [last];
  }
}

/** What an agent says of itself: its host is named by its id, or by its name where only one has it. */
export function hostLogRoutes({ db, edge }: Context): Hono {
  const routes = new Hono();

  routes.get("/:host/logs", async (c) => {
    const { host: named } = c.req.param();
    const action = `Cannot show the log of host "${named}"`;
    const { tail, follow } = check({ tail: c.req.query("tail"), follow: c.req.query("follow") }, querySchema, action);
    const hosts = (await listHosts(db.rows)).filter(({ id, name, revokedAt }) => id === named || (name === named && revokedAt === null));
    const [host, another] = hosts;
    if (host === undefined) throw new FairleadError("not_found", `${action}: there is no such host`, { param: "host" });
    if (another !== undefined) throw new FairleadError("invalid_request", `${action}: several hosts are called so: say ${hosts.map(({ id }) => id).join(" or ")}`, { param: "host" });
    // a log has no time limit: an edge that says nothing would be waited for without end
    const asked = await askEdge(edge);
    if (!asked.reachable) throw new FairleadError("not_ready", `${action}: ${asked.reason}`);
    const ended = endedWith(c);
    return answerWith(c, [open(host.name, edge.agentLog(host.id, undefined, { tail, follow, signal: ended.signal }))], ended, action);
  });

  return routes;
}
