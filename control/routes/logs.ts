import { Hono } from "hono";
import { z } from "zod";
import { FairleadError } from "../../schema/errors.ts";
import { isAlive } from "../../schema/replica.ts";
import type { StatusReplica } from "../../schema/snapshot.ts";
import { check } from "../body.ts";
import type { Context } from "../context.ts";
import { mergeLogs, type NamedLog } from "../logLines.ts";
import { findService } from "../queries/services.ts";
import { findReplica } from "../replicaName.ts";
import { unknownService } from "./services.ts";
import { askEdge } from "./status.ts";

const querySchema = z.object({
  tail: z.coerce.number<string>().int().min(0).max(100_000).default(200),
  follow: z.enum(["0", "1", "true", "false"]).default("0").transform((text) => text === "1" || text === "true"),
});

/** What replicas print: `?replica=` names one, and may be given more than once; without it all that run, or the last one that did. */
export function logRoutes({ db, edge, regions }: Context): Hono {
  const routes = new Hono();

  routes.get("/:name/logs", async (c) => {
    const { name } = c.req.param();
    const { tail, follow } = check({ tail: c.req.query("tail"), follow: c.req.query("follow") }, querySchema, `Cannot show the logs of service "${name}"`);
    const asked = await askEdge(edge);
    if (!asked.reachable) throw new FairleadError("not_ready", `Cannot show the logs of service "${name}": ${asked.reason}`);
    const replicas = asked.regions.flatMap((region) => region.replicas).filter(({ service }) => service === name);
    if (replicas.length === 0 && (await findService(db.rows, name)) === undefined) throw unknownService("show the logs of", name);
    const chosen = choose(name, replicas, c.req.queries("replica") ?? []);

    const ended = new AbortController();
    c.req.raw.signal.addEventListener("abort", () => ended.abort());
    const opened = await Promise.all(
      chosen.map((replica) =>
        edge.logs(replica.host, replica.id, { tail, follow, signal: ended.signal }).then(
          (stream): NamedLog => ({ name: replica.id, stream }),
          (error: Error) => ({ name: replica.id, problem: error.message }),
        ),
      ),
    );
    const [problem] = opened.flatMap((log) => ("problem" in log ? [`${log.name}: ${log.problem}`] : []));
    const logs = opened.map((log) => ("stream" in log ? log : { name: log.name, stream: new Blob([`fairlead: cannot show the log of ${log.name}: ${log.problem}\n`]).stream() }));
    if (problem !== undefined && opened.every((log) => "problem" in log)) throw new FairleadError("provider_unreachable", `Cannot show the logs of service "${name}": ${problem}`);
    return c.body(mergeLogs(logs, () => ended.abort()), 200, { "content-type": "text/plain; charset=utf-8", "x-accel-buffering": "no" });
  });

  return routes;

  function choose(service: string, replicas: readonly StatusReplica[], names: readonly string[]): StatusReplica[] {
    if (names.length > 0) {
      return names.map((name) => {
        const found = findReplica(service, name, replicas, regions);
        const replica = "id" in found ? replicas.find(({ id }) => id === found.id) : undefined;
        if (replica === undefined) throw new FairleadError("not_found", `Cannot show the log of replica "${name}" of service "${service}": ${"problem" in found ? found.problem : "there is no such replica"}`, { param: "replica" });
        return replica;
      });
    }
    const alive = replicas.filter(({ phase }) => isAlive(phase));
    if (alive.length > 0) return alive;
    const last = replicas.toSorted((a, b) => b.since - a.since)[0];
    if (last === undefined) throw new FairleadError("no_replica", `Cannot show the logs of service "${service}": it has no replica`);
    return [last];
  }
}
