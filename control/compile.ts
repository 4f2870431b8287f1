import type { Bundle, FleetHost, FleetService, RouteService } from "../schema/bundle.ts";
import type { Now } from "../schema/clock.ts";
import type { Region } from "../schema/region.ts";
import type { ServiceSpec } from "../schema/serviceSpec.ts";
import type { HostRow, ServiceRow } from "../schema/tables.ts";
import type { Published } from "./queries/bundle.ts";
import type { SealedService } from "./secrets.ts";

/** The bundle that edge and hubs are given: everything resolved, nothing left to look up or decide. */
export function compile(published: Published, sealed: ReadonlyMap<string, SealedService>, regions: readonly Region[], now: Now): Bundle {
  const { version, services, keys, hosts, removed } = published;
  const homes = homeRegions(hosts, regions);
  return {
    route: {
      version,
      publishedAt: now,
      services: services.map((row) => routeService(row, sealed.get(row.name))),
      keys: keys.map(({ id, digest, account, rights, services: allowed, expiresAt }) => ({
        id,
        digest,
        account,
        rights,
        ...(allowed === null ? {} : { services: allowed }),
        ...(expiresAt === null ? {} : { expiresAt }),
      })),
    },
    fleet: {
      hosts: hosts.map((host) => fleetHost(host)),
      services: services.flatMap((row) => fleetService(row, sealed.get(row.name), homes)),
      removed,
    },
  };
}

function fleetHost({ id, name, region, publicKey, previousKey, previousUntil, releases, revokedAt, drainingAt }: HostRow): FleetHost {
  return {
    id, name, region, publicKey,
    ...(previousKey === null || previousUntil === null ? {} : { previousKey: { publicKey: previousKey, until: previousUntil } }),
    ...(releases === 0 ? {} : { releases }),
    revoked: revokedAt !== null,
    ...(drainingAt === null ? {} : { draining: true }),
  };
}

function routeService({ name, version, spec, createdAt }: ServiceRow, sealed: SealedService | undefined): RouteService {
  return {
    name,
    version,
    models: spec.models,
    listed: isListed(spec),
    createdAt,
    providers: spec.providers.map((provider) => {
      const key = sealed?.apiKeys[provider.name];
      const headers = sealed?.headers[provider.name];
      return { ...provider, ...(key === undefined ? {} : { sealedApiKey: key }), ...(headers === undefined ? {} : { sealedHeaders: headers }) };
    }),
    selfHosted: spec.task !== undefined,
    timeouts: spec.timeouts,
    routing: spec.routing,
    replicas: spec.own,
    bodyBytesMax: spec.bodyBytesMax,
    ...(spec.fromZero === undefined ? {} : { fromZero: spec.fromZero }),
  };
}

/** Whether /v1/models lists a service: it names a model, has providers, or is probed like one of OpenAI's. */
export function isListed({ hasModel, providers, task }: ServiceSpec): boolean {
  return hasModel || providers.length > 0 || (task?.probe.path.startsWith("/v1") ?? false);
}

function fleetService({ name, version, spec, signed, previous }: ServiceRow, sealed: SealedService | undefined, homes: readonly Region[]): FleetService[] {
  if (spec.task === undefined || sealed?.digest === undefined) return [];
  const { policy, rollout } = spec;
  const before = previous === null || sealed.previous === undefined ? undefined : { ...previous, ...sealed.previous };
  return [{
    task: { ...spec.task, service: name, version, digest: sealed.digest, ...(signed === null ? {} : { signed }) },
    replicas: spread(spec.replicas.min, homes),
    sealedSecrets: sealed.hosts,
    ...(policy === undefined ? {} : { policy }),
    ...(rollout === undefined ? {} : { rollout }),
    ...(before === undefined ? {} : { previous: { task: { ...before.task, service: name, version: before.version, digest: before.digest, ...(before.signed === null ? {} : { signed: before.signed }) }, sealedSecrets: before.hosts } }),
  }];
}

/** Where replicas may be: regions with hosts, the one that had a host first coming first; the operator's first region when there are no hosts yet. */
export function homeRegions(hosts: readonly HostRow[], regions: readonly Region[]): Region[] {
  const homes = new Set(hosts.filter(({ revokedAt, region }) => revokedAt === null && regions.includes(region)).map(({ region }) => region));
  return homes.size > 0 ? [...homes] : regions.slice(0, 1);
}

/**
 * So many replicas, as evenly as they go, the remainder to the first regions.
 *
 * @example spread(3, ["weur", "enam"]) // {weur: 2, enam: 1}
 */
export function spread(count: number, regions: readonly Region[]): Partial<Record<Region, number>> {
  const each = Math.floor(count / Math.max(1, regions.length));
  return Object.fromEntries(regions.map((region, i) => [region, each + (i < count % regions.length ? 1 : 0)]));
}
