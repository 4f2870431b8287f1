import type { Price, Provider, RouteService } from "../../schema/bundle.ts";
import type { Engine } from "../../schema/protocol.ts";
import type { SnapshotHost, SnapshotReplica } from "../../schema/snapshot.ts";

/**
 * What replicas can whose engine is known and whose service does not say (facts/engines.md §7, docs/engines.md). vLLM tells token ids
 * and takes them. SGLang refuses a streamed chat that asks for ids, and llama.cpp has them in another API only: both go on with a last
 * message of the assistant's. Of the others nothing is known that would be sure.
 */
const byEngine: Readonly<Record<Engine, Candidate["continuation"]>> = { vllm: "tokens", sglang: "text", llamacpp: "text", tgi: "none", trtllm: "none", triton: "none", ollama: "none" };

/** A replica as an isolate's view lists it. */
export interface ReplicaRow {
  replica: SnapshotReplica;
  host: SnapshotHost;
  /** When its snapshot was taken (ms since the epoch, by its Hub's clock). */
  takenAt: number;
}

/** What all upstreams have in common. */
export interface CandidateFacts {
  /** The replica's id, or the provider's name: the key of breakers and of what an isolate observes. */
  id: string;
  /** Its name in the fallback chain: the same for all replicas of a service, the provider's own otherwise. */
  upstream: string;
  /** Its share under `weighted`. */
  weight: number;
  /** Used only when those that are no fallback cannot answer. */
  fallback: boolean;
  price: Price | undefined;
  /** Tokens; undefined where it is not known. */
  contextWindow: number | undefined;
  continuation: "none" | "text" | "tokens";
}

/** An upstream being weighed. */
export type Candidate = CandidateFacts &
  (
    | { kind: "replica"; /** Its service's. */ version: number; host: string; relays: readonly number[]; /** Its host's gate. */ direct?: SnapshotHost["direct"] | undefined; /** Requests on it: running and queued; undefined where it does not say. */ load: number | undefined }
    | { kind: "provider"; provider: Provider }
  );

export function replicaCandidate({ replicas }: RouteService, { replica, host }: ReplicaRow): Candidate {
  return {
    kind: "replica", id: replica.id, upstream: replicas.name, weight: replicas.weight, fallback: replicas.fallback, price: replicas.price, contextWindow: replicas.contextWindow, continuation: replicas.continuation ?? (replica.engine === undefined ? "none" : byEngine[replica.engine]),
    version: replica.version, host: host.id, relays: host.relays, direct: host.direct, load: replica.load === undefined ? undefined : replica.load.running + replica.load.queueDepth,
  };
}

export function providerCandidate(provider: Provider): Candidate {
  const { name, weight, fallback, price, contextWindow, continuation } = provider;
  return { kind: "provider", id: name, upstream: name, weight, fallback, price, contextWindow, continuation, provider };
}
