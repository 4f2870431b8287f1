import { z } from "zod";
import { readingsSchema } from "./readings.ts";
import { phaseSchema } from "./replica.ts";
import { taskSchema } from "./task.ts";

/**
 * The number of the agent protocol, and its diary. Fields are added, never re-meant; unknown fields are ignored; a Hub speaks
 * with agents down to `protocolMin`.
 *
 * - 1 (2026-11-21): challenge, hello, welcome, heartbeat, assign, report, tickets, relays, goodbye; frames open, data, end, reset, window, text.
 * - 2 (2026-11-21): a request's head may name its attempt, whose answer the agent keeps for `parkMs` after its link is lost, and another
 *   link may go on with it (`attempt`, target `attach`); reset `gone`. An agent of 1 keeps nothing and refuses that target.
 * - 2 (2026-11-21): a replica's state names its engine, where the agent knows it.
 * - 3 (2026-11-21): more engines have names; a state says its engine's version and why its load is unknown; a load tells its prefix
 *   cache, its running adapters and whether its engine sleeps. An assigned replica may be `sleeping`; an agent of 2 keeps it awake.
 * - 3 (2026-11-21): a heartbeat may hold `readings` of GPUs and host, and a replica's state how many `requests` it was given; the agent
 *   answers `/log` with its own lines.
 * - 3 (2026-11-21): a task may name an image with mounts, and limits; an agent of 2 would run such a task on the host itself. A host's facts say
 *   how full its disk is.
 * - 3 (2026-11-21): a task may name a `template`, carry what its operator `signed`, and say its `gate`; `hello` may name the agent's
 *   `instance` and prove the key before a rotation too; close code 4403.
 * - 3 (2026-11-21): a heartbeat may say that the cloud takes the host back (`reclaim`): it still serves, and takes nothing new when it
 *   says `draining`, as before. A welcome may say over how long those that lost their Hub come back (`spreadMs`).
 * - 3 (2026-11-21): a hello says how many data links are wanted; a welcome says over how long lost links are to be opened again, and the
 *   key and time of the host's gate; a heartbeat says where that gate is. An agent of 2 has two links and no gate.
 * - 3 (2026-11-21): a host's facts say what kind of host it is (`zone`, `spot`, `accelerator`, `priceMicroUsd`) and which digests were ready
 *   there (`warm`). Each one that is missing, or that cannot be understood, is not known.
 * - 3 (2026-11-21): a task may name its `accelerators` and `places`, which Hubs place by; agents need not read them.
 * - 3 (2026-11-21): a replica that has failed says whether its host `refused` it, and a host's facts whether its disk is too `full` for
 *   anything new. Of an agent that does not say so, what failed is not tried elsewhere, and its disk is never full.
 */
export const protocol = 3;
export const protocolMin = 1;

/** Times that both sides keep (facts/failures.md §2). */
export const linkTimes = {
  /** Full state from agent to Hub. */
  heartbeatMs: 5_000,
  /** Without a heartbeat for so long, a host's replicas leave routing. */
  leaseMs: 15_000,
  /** From connection to a good `hello`. */
  authMs: 5_000,
  /** From dispatch to the agent's first frame; beyond it the relay is suspect and the request goes elsewhere. */
  dispatchAckMs: 1_000,
  /**
   * How long a router looks for another way to an answer whose relay was lost. The other relay is there at once (failure model, row
   * 20: a pause of 1 s at most); when both are lost, an agent's first reconnection takes up to half a second and its handshake.
   */
  reattachMs: 2_000,
  /**
   * How long an agent keeps an answer that has no link: as long as a router looks for it, and a second each for the router's learning
   * of the loss (from the agent's next connection, where the socket's end did not get through) and for the last look's ack.
   */
  parkMs: 4_000,
} as const;

/** Text frames on a control link: the largest before authentication, and after it. */
export const linkBytesMax = { beforeHello: 4 * 1024, afterHello: 1024 * 1024 } as const;

/** Close codes of a control or data link. 1008 is RFC 6455's "policy violation": a malformed or forbidden message. */
export const closeCodes = {
  policy: 1008,
  /** The Hub cannot judge yet (IANA's "try again later"): the usual backoff. */
  tryAgainLater: 1013,
  /** The host's key is unknown, revoked or its proof is wrong: wait 60 s or more before trying again. */
  unauthorized: 4401,
  /** The host's identity was seen twice at once, and is quarantined until an operator lets it back in: wait 60 s or more. */
  quarantined: 4403,
  /** A newer connection of the same host has taken over. */
  superseded: 4409,
  /** The agent's protocol is too old. */
  upgradeRequired: 4426,
} as const;

/** Names of running LoRA adapters in one load; vLLM runs `--max-loras` at once, which is 1 unless it is told otherwise. */
export const adaptersMax = 64;

/** What a replica's engine says of itself; absent when it could not be read, which never means idle. */
export const loadSchema = z.object({
  running: z.number().nonnegative(),
  queueDepth: z.number().nonnegative(),
  /** A fraction 0..1. */
  kvUsage: z.number().min(0).max(1).optional(),
  /** Tokens of prompts that were looked up in the engine's prefix cache since its start, and those found there. */
  prefixTokensQueried: z.number().nonnegative().optional().catch(undefined),
  prefixTokensHit: z.number().nonnegative().optional().catch(undefined),
  /** LoRA adapters that requests are running with. */
  adapters: z.array(z.string().max(256)).max(adaptersMax).optional().catch(undefined),
  /** Its weights are off the GPU, by whomever's order. */
  sleeping: z.boolean().optional().catch(undefined),
});
export type Load = z.infer<typeof loadSchema>;

/** Engines that more is known of than OpenAI's API has. A name that is not known here counts as none. */
export const engineSchema = z.enum(["vllm", "sglang", "llamacpp", "tgi", "trtllm", "triton", "ollama"]);
export type Engine = z.infer<typeof engineSchema>;

export const replicaStateSchema = z.object({
  id: z.string(),
  service: z.string(),
  number: z.number().int().nonnegative(),
  version: z.number().int().positive(),
  digest: z.string(),
  phase: phaseSchema,
  /** Why it is in this phase, in words a person reads. */
  reason: z.string().optional(),
  /** When the phase began, by the agent's clock (ms since the epoch). */
  since: z.number(),
  /** Starts after the first one. */
  restarts: z.number().int().nonnegative(),
  /** Whether this digest has ever been ready on this replica. */
  wasReady: z.boolean(),
  port: z.number().int().optional(),
  pid: z.number().int().optional(),
  /** Requests the agent is carrying to it. */
  inFlight: z.number().int().nonnegative(),
  /** It has failed before anything of it ran, for a reason of its host's: what is allowed there, or what is missing. Another host may run it. */
  refused: z.boolean().optional().catch(undefined),
  /** Requests that were carried to it since its agent began; a smaller number than before: the agent began anew. */
  requests: z.number().int().nonnegative().optional().catch(undefined),
  load: loadSchema.optional(),
  /** What runs it, by its own metrics or its list of models. */
  engine: engineSchema.optional().catch(undefined),
  engineVersion: z.string().max(64).optional().catch(undefined),
  /** Why its load is unknown though its engine is known, in words a person reads. */
  loadProblem: z.string().max(500).optional().catch(undefined),
});
export type ReplicaState = z.infer<typeof replicaStateSchema>;

/** Text that a hub must not be made to store or show without bound. */
const reasonMax = 500;

export const challengeSchema = z.object({
  type: z.literal("challenge"),
  /** 32 random bytes, base64. */
  nonce: z.string(),
  protocol: z.number().int(),
  protocolMin: z.number().int(),
  region: z.string(),
});

export const helloSchema = z.object({
  type: z.literal("hello"),
  host: z.string().max(64),
  region: z.string().max(16),
  /** The highest protocol that the agent speaks. */
  protocol: z.number().int().positive(),
  agentVersion: z.string().max(32),
  /** 32 random bytes, base64. */
  nonce: z.string().max(64),
  /** Ed25519 over `helloText`, base64. */
  signature: z.string().max(128),
  /** The same by the key before a rotation, for a hub that has not heard of the new one yet. */
  previousSignature: z.string().max(128).optional(),
  /** Random, one for each run of an agent: two that take turns are two agents with one key. */
  instance: z.string().max(64).optional(),
  /** Data links that are wanted; absent: two. */
  relays: z.number().int().min(1).max(16).optional(),
});

export const welcomeSchema = z.object({
  type: z.literal("welcome"),
  protocol: z.number().int(),
  /** The number of this session; a lower one is superseded. */
  epoch: z.number().int(),
  heartbeatMs: z.number(),
  leaseMs: z.number(),
  /** One ticket per data link to open: a short-lived token for `/agents/relay/<host>/<index>`. */
  relays: z.array(z.object({ index: z.number().int(), ticket: z.string() })),
  /** So many agents are here that, when this link is lost, they had better come back over this time. */
  spreadMs: z.number().nonnegative().max(60_000).optional().catch(undefined),
  /** What the host's gate judges passes by (schema/gate.ts): base64, and the Hub's time (ms since the epoch). */
  gate: z.object({ key: z.string(), now: z.number() }).optional(),
});

/** The host will be taken back by its cloud. */
export const reclaimSchema = z.object({
  /** When (ms since the epoch, by the cloud's clock); absent: nobody says. */
  at: z.number().optional(),
  /** Which cloud says so. */
  source: z.string().max(32),
  reason: z.string().max(reasonMax),
});
export type ReclaimNotice = z.infer<typeof reclaimSchema>;

/** Digests that a host remembers as ready. */
export const warmMax = 32;

/** As vendors write zones and SkyPilot accelerators: `us-east-1a`, `A100-80GB`. */
export const kindNamePattern = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$/;

/** What kind of host one is (schema/scale.ts, `HostKind`), by its owner's word or its cloud's; and what it is warm for, the latest first. */
export const kindSchema = z.object({
  zone: z.string().regex(kindNamePattern).optional().catch(undefined),
  spot: z.boolean().optional().catch(undefined),
  accelerator: z.string().regex(kindNamePattern).optional().catch(undefined),
  priceMicroUsd: z.number().int().nonnegative().max(1e12).optional().catch(undefined),
  warm: z.array(z.string().max(128)).max(warmMax).optional().catch(undefined),
});
export type KindSaid = z.infer<typeof kindSchema>;

export const heartbeatSchema = z.object({
  type: z.literal("heartbeat"),
  epoch: z.number().int(),
  /** The generation that the agent has taken over. */
  generation: z.number().int(),
  /** Data links that are open. */
  relays: z.array(z.number().int()).max(16),
  draining: z.boolean(),
  reclaim: reclaimSchema.optional(),
  replicas: z.array(replicaStateSchema.extend({ reason: z.string().max(reasonMax).optional() })).max(1000),
  /** What this host can say of itself. */
  facts: z.object({ gpus: z.number().int(), cpus: z.number().int(), memoryBytes: z.number(), disk: z.object({ bytes: z.number(), freeBytes: z.number(), full: z.boolean().optional().catch(undefined) }).optional(), ...kindSchema.shape }).optional(),
  /** What it read of itself lately. One that cannot be understood is as none: it must not cost the host its link. */
  readings: readingsSchema.optional().catch(undefined),
  /** What it takes for its word on what to run; for people to see. */
  trust: z.enum(["templates", "signed-specs", "unsigned"]).optional().catch(undefined),
  /** Where the edge reaches this host's gate, while it listens: an origin. */
  direct: z.object({ url: z.url({ protocol: /^https?$/ }).max(255) }).optional(),
});

/** One replica's change, at once. */
export const reportSchema = z.object({
  type: z.literal("report"),
  epoch: z.number().int(),
  replica: replicaStateSchema.extend({ reason: z.string().max(reasonMax).optional() }),
});

/** The agent is leaving on purpose: its replicas are stopped. */
export const goodbyeSchema = z.object({ type: z.literal("goodbye"), epoch: z.number().int() });

/** New tickets are wanted, for data links that must be opened again. */
export const ticketsSchema = z.object({ type: z.literal("tickets"), epoch: z.number().int() });

export const assignedReplicaSchema = z.object({
  /** `replicaId`; it names files on the host. */
  id: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,159}$/),
  service: z.string(),
  number: z.number().int().nonnegative(),
  version: z.number().int().positive(),
  digest: z.string(),
  /** Its weights should be off the GPU, ready to be woken. Where its engine cannot sleep it stays ready and says why. */
  sleeping: z.boolean().optional(),
});
export type AssignedReplica = z.infer<typeof assignedReplicaSchema>;

/** The state that should be on this host. What it does not list is drained and stopped. */
export const assignSchema = z.object({
  type: z.literal("assign"),
  generation: z.number().int(),
  tasks: z.array(taskSchema),
  replicas: z.array(assignedReplicaSchema),
});
export type Assign = z.infer<typeof assignSchema>;

export const agentMessageSchema = z.discriminatedUnion("type", [helloSchema, heartbeatSchema, reportSchema, goodbyeSchema, ticketsSchema]);
export type AgentMessage = z.infer<typeof agentMessageSchema>;
export type Hello = z.infer<typeof helloSchema>;
export type Heartbeat = z.infer<typeof heartbeatSchema>;

/** Fresh relay tickets, in answer to `tickets`. */
export const relaysSchema = z.object({ type: z.literal("relays"), relays: welcomeSchema.shape.relays });

export const hubMessageSchema = z.discriminatedUnion("type", [challengeSchema, welcomeSchema, assignSchema, relaysSchema]);
export type HubMessage = z.infer<typeof hubMessageSchema>;
export type Challenge = z.infer<typeof challengeSchema>;
export type Welcome = z.infer<typeof welcomeSchema>;

/**
 * The text that an agent signs to prove its key: bound to what it is for, the region, both nonces, the host and both sides'
 * protocol offers, so that it cannot be replayed, relayed to another hub or talked down.
 */
export function helloText(challenge: Pick<Challenge, "nonce" | "protocol" | "protocolMin" | "region">, hello: Pick<Hello, "host" | "nonce" | "protocol">): string {
  return ["fairlead-link", challenge.region, challenge.nonce, hello.nonce, hello.host, challenge.protocolMin, challenge.protocol, hello.protocol].join("\n");
}

/** The text that an agent signs at enrolment, to prove that the key it hands in is its own. */
export function enrolText(tokenId: string, publicKey: string, sealKey: string): string {
  return ["fairlead-enrol", tokenId, publicKey, sealKey].join("\n");
}

/** The text that an agent signs with its old key and its new ones, to put the new in the old one's place. */
export function rotateText(host: string, oldPublicKey: string, publicKey: string, sealKey: string): string {
  return ["fairlead-rotate", host, oldPublicKey, publicKey, sealKey].join("\n");
}

/** A host's keys (facts/failures.md §2 and §4): renewed at half of their 90 days, and the old one counts for a day beside the new. */
export const keyTimes = { renewMs: 45 * 86_400_000, overlapMs: 86_400_000 } as const;

/** Answered by the platform itself without waking the Hub. */
export const ping = "ping";
export const pong = "pong";
