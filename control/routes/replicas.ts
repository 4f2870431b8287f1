import { Hono } from "hono";
import { FairleadError } from "../../schema/errors.ts";
import { change } from "../change.ts";
import type { Context } from "../context.ts";
import { addRemoved } from "../queries/bundle.ts";
import { findService } from "../queries/services.ts";
import { findReplica } from "../replicaName.ts";
import { unknownService } from "./services.ts";
import { askEdge } from "./status.ts";

/** A replica that is removed is replaced by another, with another number: the service keeps its count. */
export function replicaRoutes(context: Context): Hono {
  const routes = new Hono();
  const { db, edge, clock, regions } = context;

  routes.delete("/:name/replicas/:replica", async (c) => {
    const { name, replica } = c.req.param();
    if ((await findService(db.rows, name)) === undefined) throw unknownService("remove a replica of", name);
    const asked = await askEdge(edge);
    const known = asked.reachable ? asked.regions.flatMap((region) => region.replicas).filter(({ service }) => service === name) : undefined;
    const found = findReplica(name, replica, known, regions);
    if ("problem" in found) throw new FairleadError("not_found", `Cannot remove replica "${replica}" of service "${name}": ${found.problem}`, { param: "replica" });
    const { published, reason } = await change(context, (rows) => addRemoved(rows, found.id, clock.now()));
    return c.json({ id: found.id, removed: true, published, ...(reason === undefined ? {} : { reason }) });
  });

  return routes;
}
