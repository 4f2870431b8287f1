import { styleText } from "node:util";
import type { Now } from "../../schema/clock.ts";
import type { GpuReading } from "../../schema/readings.ts";
import { formatDuration } from "../../schema/units.ts";
import type { HostView } from "../status.ts";
import { table } from "./table.ts";

const colours: Record<string, "green" | "red" | "yellow" | "dim"> = {
  READY: "green", ready: "green", up: "green", FAILED: "red", failed: "red", lost: "red", quarantined: "red", UNHEALTHY: "yellow", unhealthy: "yellow", STARTING: "yellow", starting: "yellow",
  pending: "yellow", provisioning: "yellow", draining: "yellow", UNKNOWN: "dim", unknown: "dim", revoked: "dim", left: "dim", "never seen": "dim",
};

/** A state in its colour, on a terminal. */
export function coloured(state: string): string {
  const colour = colours[state];
  return colour === undefined ? state : styleText(colour, state, { stream: process.stdout });
}

/** What is not known is a dash, never 0. */
const unknown = "-";

export function percent(share: number | undefined): string {
  return share === undefined ? unknown : `${Math.round(share * 100)}%`;
}

const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** Bytes as people read them: three digits at most. */
export function bytes(value: number | undefined): string {
  if (value === undefined) return unknown;
  let [size, unit] = [value, 0];
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${size >= 99.95 || unit === 0 ? Math.round(size) : Number(size.toFixed(1))} ${units[unit]}`;
}

function usedOf(used: number | undefined, total: number | undefined): string {
  return used === undefined && total === undefined ? unknown : `${bytes(used)} of ${bytes(total)}`;
}

/** `2 × NVIDIA H200, 78.1 GiB of 282 GiB, 97%`: boards of one name together, their memory summed, their utilisation averaged. */
function gpusOf(gpus: readonly GpuReading[] | undefined): string {
  if (gpus === undefined || gpus.length === 0) return unknown;
  const sum = (rows: readonly GpuReading[], of: (gpu: GpuReading) => number | undefined): number | undefined => {
    const known = rows.map(of).filter((value) => value !== undefined);
    return known.length === 0 ? undefined : known.reduce((all, value) => all + value, 0);
  };
  const named = Map.groupBy(gpus, ({ name, slice }) => `${name ?? "GPU"}${slice === undefined ? "" : " slice"}`);
  return [...named].map(([name, rows]) => {
    const busy = rows.filter(({ utilisation }) => utilisation !== undefined);
    const mean = busy.length === 0 ? undefined : (sum(busy, ({ utilisation }) => utilisation) ?? 0) / busy.length;
    return `${rows.length > 1 ? `${rows.length} × ` : ""}${name}, ${usedOf(sum(rows, ({ memoryUsedBytes }) => memoryUsedBytes), sum(rows, ({ memoryTotalBytes }) => memoryTotalBytes))}, ${percent(mean)}`;
  }).join("; ");
}

/** `us-east-1a, spot, L4, $0.30/h`: what it says of these, in this order. */
function kindOf({ zone, spot, accelerator, priceMicroUsd }: HostView["kind"] = {}): string {
  const said = [zone, spot === undefined ? undefined : spot ? "spot" : "on demand", accelerator, priceMicroUsd === undefined ? undefined : `$${(priceMicroUsd / 1_000_000).toFixed(2)}/h`].filter((one) => one !== undefined);
  return said.length === 0 ? unknown : said.join(", ");
}

/** Hosts with what they read of themselves, and below them why those that are not simply up are as they are. */
export function hostsTable(hosts: readonly HostView[], now: Now): string {
  const head = ["ID", "NAME", "REGION", "STATE", "TRUST", "HEARD", "RELAYS", "GPUS", "LOAD", "MEMORY", "DISK FREE", "AGENT", "PROTOCOL", "GENERATION", "KIND"];
  const rows = table(head, hosts.map(({ id, name, region, state, trust, heardAt, relays, readings, agentVersion, protocol, generation, appliedGeneration, kind }) => {
    const host = readings?.host;
    return [
      id, name, region, coloured(state), trust ?? unknown, heardAt ? `${formatDuration(Math.max(0, now - heardAt))} ago` : unknown,
      relays.length === 0 ? unknown : relays.join(","),
      gpusOf(readings?.gpus),
      host?.load1 === undefined ? unknown : `${host.load1.toFixed(1)}${host.cpus === undefined ? "" : ` of ${host.cpus}`}`,
      usedOf(host?.memoryUsedBytes, host?.memoryTotalBytes),
      bytes(host?.diskFreeBytes),
      agentVersion ?? unknown, protocol ?? unknown,
      // a host that has not taken over what it was told
      generation === undefined ? unknown : appliedGeneration === generation ? generation : `${appliedGeneration ?? unknown} of ${generation}`,
      kindOf(kind),
    ];
  }));
  return [rows, ...hosts.flatMap(({ id, name, state, reason }) => (reason === undefined ? [] : [`${name} (${id}) is ${state}: ${reason}`]))].join("\n");
}
