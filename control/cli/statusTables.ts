import { styleText } from "node:util";
import type { Now } from "../../schema/clock.ts";
import type { StatusReplica } from "../../schema/snapshot.ts";
import { formatDuration } from "../../schema/units.ts";
import type { StatusAnswer } from "../routes/status.ts";
import { foldFailed, type ServiceView } from "../status.ts";
import { table } from "./table.ts";

const colours: Record<string, "green" | "red" | "yellow" | "dim"> = {
  READY: "green", ready: "green", up: "green", FAILED: "red", failed: "red", lost: "red", quarantined: "red", UNHEALTHY: "yellow", unhealthy: "yellow", STARTING: "yellow", starting: "yellow",
  pending: "yellow", provisioning: "yellow", draining: "yellow", UNKNOWN: "dim", unknown: "dim", revoked: "dim", "never seen": "dim",
};

function coloured(state: string): string {
  const colour = colours[state];
  return colour === undefined ? state : styleText(colour, state, { stream: process.stdout });
}

function since(ms: number | undefined, now: Now): string {
  return ms === undefined ? "-" : formatDuration(Math.max(0, now - ms));
}

/** SkyServe's two tables, as text. `verbose` adds models, reasons, hosts and every replica that ever failed. */
export function statusTables({ services, hosts, takenAt, edge, braked = [] }: StatusAnswer, verbose: boolean): string {
  const parts: string[] = [];
  if (!edge.reachable) parts.push(`The edge cannot be asked: ${edge.reason}. What follows is what control knows.`);
  for (const { region, reason } of braked) parts.push(`${region}: ${reason}.`);
  parts.push(`${heading("Services")}\n${services.length === 0 ? "No existing services." : servicesTable(services, takenAt, verbose)}`);
  const replicas = services.flatMap((service) => replicaRows(service, takenAt, verbose));
  if (services.length > 0) parts.push(`${heading("Service Replicas")}\n${replicas.length === 0 ? "No existing replicas." : table(["SERVICE", "ID", "VERSION", "PHASE", "SINCE", "RESTARTS", "HOST", "REASON"], replicas)}`);
  const folded = services.map(({ name, replicas: all }) => [name, foldFailed(all).folded] as const).filter(([, count]) => count > 0);
  if (!verbose) for (const [name, count] of folded) parts.push(`${name}: ${count} older failed replica${count === 1 ? "" : "s"} not shown; -v shows all.`);
  if (verbose && hosts.length > 0) parts.push(`${heading("Hosts")}\n${table(["ID", "NAME", "REGION", "STATE", "HEARD"], hosts.map((host) => [host.id, host.name, host.region, host.reason === undefined ? coloured(host.state) : `${coloured(host.state)}: ${host.reason}`, host.heardAt ? `${since(host.heardAt, takenAt)} ago` : "-"]))}`);
  return parts.join("\n\n");
}

function heading(text: string): string {
  return styleText("bold", text, { stream: process.stdout });
}

function servicesTable(services: readonly ServiceView[], now: Now, verbose: boolean): string {
  const rows = services.map((service) => [
    service.name,
    service.activeVersions.join(",") || (service.selfHosted ? "-" : service.version),
    since(service.readySince, now),
    coloured(service.status),
    service.selfHosted ? `${service.ready}/${service.desired}` : "-",
    service.endpoint,
    ...(verbose ? [service.models.join(","), service.reason ?? ""] : service.status === "READY" ? [""] : [service.reason ?? ""]),
  ]);
  const needsReason = verbose || rows.some((row) => row.at(-1) !== "");
  const head = ["NAME", "VERSION", "UPTIME", "STATUS", "REPLICAS", "ENDPOINT", ...(verbose ? ["MODELS"] : []), ...(needsReason ? ["REASON"] : [])];
  return table(head, rows.map((row) => row.slice(0, head.length)));
}

function replicaRows(service: ServiceView, now: Now, verbose: boolean): (string | number)[][] {
  const shown = verbose ? service.replicas : foldFailed(service.replicas).replicas;
  return shown.toSorted((a, b) => a.number - b.number).map((replica) => [service.name, shortId(replica), replica.version, coloured(replica.phase), since(replica.since, now), replica.restarts, replica.hostName, replica.reason ?? ""]);
}

/** A replica within its service, as every command takes it: `region.number`. */
function shortId({ id, service }: StatusReplica): string {
  return id.startsWith(`${service}.`) ? id.slice(service.length + 1) : id;
}
