import type { Snapshot, SnapshotChange, ViewUpdate } from "../schema/snapshot.ts";

/** A snapshot with what has changed since; the same when the change is not one of this version, as when another refresh came in between. */
export function withChange(snapshot: Snapshot, { region, takenAt, since, version, hosts, replicas, gone, quarantined }: SnapshotChange): Snapshot {
  if (snapshot.version?.stamp !== version.stamp || snapshot.version.number !== since) return snapshot;
  const newer = new Map(hosts.map((host) => [host.id, host]));
  const left = new Set(gone);
  const replaced = new Set([...gone, ...replicas.map(({ host }) => host)]);
  const kept = snapshot.hosts.flatMap((host) => {
    const next = newer.get(host.id);
    newer.delete(host.id);
    return left.has(host.id) ? [] : [next ?? host];
  });
  return {
    region, takenAt, version,
    hosts: [...kept, ...newer.values()],
    replicas: [...snapshot.replicas.filter(({ host }) => !replaced.has(host)), ...replicas.flatMap(({ replicas: all }) => all)],
    ...(quarantined === undefined ? {} : { quarantined }),
  };
}

/** All regions' snapshots after an update. */
export function snapshotsAfter(known: readonly Snapshot[], { snapshots, changes = [] }: ViewUpdate): Snapshot[] {
  if (changes.length === 0) return snapshots;
  const changed = known.flatMap((snapshot) => {
    const change = changes.find(({ region }) => region === snapshot.region);
    return change === undefined ? [] : [withChange(snapshot, change)];
  });
  return [...changed, ...snapshots];
}
