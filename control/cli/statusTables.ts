import { styleText } from "node:util";
import type { Now } from "../../schema/clock.ts";
import type { StatusReplica } from "../../schema/snapshot.ts";
import { formatDuration } from "../../schema/units.ts";
import type { StatusAnswer } from "../routes/status.ts";
import { foldFailed, rolloutReason, type HostView, type ServiceView } from "../status.ts";
import { agoInWords } from "./ago.ts";
import { coloured, hostsTable, percent } from "./hostsTable.ts";
import { askedCells, decisionsTable, rolloutsTable } from "./scaleTables.ts";
import { table } from "./table.ts";

function since(ms: number | undefined, now: Now): string {
  return ms === undefined ? "-" : formatDuration(Math.max(0, now - ms));
}

const columns = ["SERVICE", "ID", "VERSION", "LAUNCHED", "PHASE", "SINCE", "RESTARTS"];
/** What `-v` adds. */
const more = ["ENGINE", "IN FLIGHT", "RUNNING", "QUEUED", "KV"];
/** And where hosts say what they are. */
const kinds = ["INFRA", "RESOURCES"];

/** SkyServe's two tables, as text. `verbose` adds models, policies, reasons, loads, rollouts, decisions, traffic, hosts and every replica that ever failed. */
export function statusTables({ services, hosts, takenAt, edge, braked = [] }: StatusAnswer, verbose: boolean): string {
  const parts: string[] = [];
  if (!edge.reachable) parts.push(`The edge cannot be asked: ${edge.reason}. What follows is what control knows.`);
  for (const { region, reason } of braked) parts.push(`${region}: ${reason}.`);
  parts.push(`${heading("Services")}\n${services.length === 0 ? "No existing services." : servicesTable(services, takenAt, verbose)}`);
  const rollouts = verbose ? rolloutsTable(services) : undefined;
  if (rollouts !== undefined) parts.push(`${heading("Rollouts")}\n${rollouts}`);
  const kindsOf = verbose ? kindsByHost(hosts) : undefined;
  const replicas = services.flatMap((service) => replicaRows(service, takenAt, verbose, kindsOf));
  if (services.length > 0) parts.push(`${heading("Service Replicas")}\n${replicas.length === 0 ? "No existing replicas." : table(verbose ? [...columns, ...more, ...(kindsOf === undefined ? [] : kinds), "HOST", "REASON"] : [...columns, "HOST", "REASON"], replicas)}`);
  const traffic = verbose ? services.flatMap(trafficRows) : [];
  if (traffic.length > 0) parts.push(`${heading("Requests of the last minute")}\n${table(["SERVICE", "UPSTREAM", "REQUESTS/S", "ERRORS", "TTFT P50", "TTFT P95"], traffic)}`);
  const decisions = verbose ? decisionsTable(services, takenAt) : undefined;
  if (decisions !== undefined) parts.push(`${heading("Decisions")}\n${decisions}`);
  const folded = services.map(({ name, replicas: all }) => [name, foldFailed(all).folded] as const).filter(([, count]) => count > 0);
  if (!verbose) for (const [name, count] of folded) parts.push(`${name}: ${count} older failed replica${count === 1 ? "" : "s"} not shown; -v shows all.`);
  if (verbose && hosts.length > 0) parts.push(`${heading("Hosts")}\n${hostsTable(hosts, takenAt)}`);
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
    ...(verbose ? [...askedCells(service), service.models.join(","), service.reason ?? ""] : service.status === "READY" ? [[rolloutReason(service), service.refused].filter((words) => words !== undefined).join("; ")] : [service.reason ?? ""]),
  ]);
  const needsReason = verbose || rows.some((row) => row.at(-1) !== "");
  const head = ["NAME", "VERSION", "UPTIME", "STATUS", "REPLICAS", "ENDPOINT", ...(verbose ? ["AUTOSCALING_POLICY", "LOAD_BALANCING_POLICY", "REQUESTED_RESOURCES", "MODELS"] : []), ...(needsReason ? ["REASON"] : [])];
  return table(head, rows.map((row) => row.slice(0, head.length)));
}

/** Where each host is and what it has; undefined where none says. */
function kindsByHost(hosts: readonly HostView[]): ReadonlyMap<string, string[]> | undefined {
  if (hosts.every(({ kind }) => kind === undefined)) return undefined;
  return new Map(hosts.map(({ id, region, kind }) => [id, [`${[region, kind?.zone].filter((part) => part !== undefined).join("/")}${kind?.spot === true ? " [spot]" : ""}`, kind?.accelerator ?? "-"]]));
}

function replicaRows(service: ServiceView, now: Now, verbose: boolean, kindsOf: ReadonlyMap<string, string[]> | undefined): (string | number)[][] {
  const shown = verbose ? service.replicas : foldFailed(service.replicas).replicas;
  return shown.toSorted((a, b) => a.number - b.number).map((replica) => [service.name, shortId(replica), replica.version, agoInWords(replica.launchedAt, now), coloured(replica.phase), since(replica.since, now), replica.restarts, ...(verbose ? loadCells(replica) : []), ...(kindsOf === undefined ? [] : (kindsOf.get(replica.host) ?? [replica.region, "-"])), replica.hostName, replica.reason ?? ""]);
}

/** What a replica carries, by its agent and by its engine; what is not known is a dash. */
function loadCells({ engine, inFlight, load }: StatusReplica): (string | number)[] {
  return [engine ?? "-", inFlight, load?.running ?? "-", load?.queueDepth ?? "-", percent(load?.kvUsage)];
}

function trafficRows({ name, traffic = [] }: ServiceView): string[][] {
  const ms = (value: number | undefined): string => (value === undefined ? "-" : formatDuration(value));
  return traffic.map(({ upstream = "none", requestsPerSecond, errorRate, ttftP50Ms, ttftP95Ms }) => [name, upstream, requestsPerSecond.toFixed(2), errorRate === undefined ? "-" : `${(errorRate * 100).toFixed(1)}%`, ms(ttftP50Ms), ms(ttftP95Ms)]);
}

/** A replica within its service, as every command takes it: `region.number`. */
function shortId({ id, service }: StatusReplica): string {
  return id.startsWith(`${service}.`) ? id.slice(service.length + 1) : id;
}
