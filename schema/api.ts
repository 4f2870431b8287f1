import { z } from "zod";
import { serviceNamePattern } from "./ids.ts";
import { regions, type Region } from "./region.ts";
import { rights } from "./bundle.ts";
import { rolloutModes } from "./policy.ts";

/** The control API's requests; its answers are the interfaces below. Unknown fields are refused: they are typing errors. */
export const serviceNameSchema = z.string().regex(serviceNamePattern, "is not a service name: use lower-case letters, digits, '.', '_' and '-', at most 63");

/** The largest service file, in characters: Kubernetes' store takes objects of about as many bytes (etcd, 1.5 MiB). */
export const yamlCharactersMax = 1_000_000;

export const putServiceSchema = z.strictObject({
  /** The service YAML as its author wrote it. */
  yaml: z.string().min(1).max(yamlCharactersMax),
  /** Values for `envs` and `secrets`, and for `$NAME` inside `service:`; replicas are given all of them. */
  envs: z.record(z.string(), z.string()).default({}),
  secrets: z.record(z.string(), z.string()).default({}),
  /** Values from the environment of whoever runs `fairlead up`, for names that nothing else gives: only the places that name them get them. */
  environment: z.record(z.string(), z.string()).default({}),
  /** How this version takes the place of the one before, whatever the file says. */
  mode: z.enum(rolloutModes).optional(),
  /** What the operator signed of it (`schema/signedSpec.ts`), and the salt by which that binds the secrets. */
  signed: z.strictObject({ jws: z.string().max(400_000), salt: z.string().max(64).optional() }).optional(),
});
export type PutService = z.input<typeof putServiceSchema>;

/** What people are shown: it must not move their terminal's cursor. */
const shown = (characters: number) => z.string().min(1).max(characters).regex(/^\P{Cc}*$/u, "must not hold control characters");

/** The last moment that a date can name (ECMAScript's Time Values), in ms since the epoch. */
export const timeMsMax = 8_640_000_000_000_000;

export const createKeySchema = z.strictObject({
  name: shown(100),
  account: shown(64).default("default"),
  rights: z.array(z.enum(rights)).min(1).default(["inference"]),
  /** Absent: all. */
  services: z.array(serviceNameSchema).min(1).optional(),
  expiresAt: z.number().int().positive().max(timeMsMax).optional(),
});
export type CreateKey = z.input<typeof createKeySchema>;

export const inviteSchema = z.strictObject({
  region: z.enum(Object.keys(regions) as [Region, ...Region[]]).optional(),
  name: shown(64).optional(),
});
export type Invite = z.input<typeof inviteSchema>;

/** The last lines that a log may begin with: more of them than a replica's log on its host is long are of no use (32 MiB, docs/executors.md). */
export const tailMax = 100_000;

export const drainSchema = z.strictObject({ draining: z.boolean() });
export type Drain = z.input<typeof drainSchema>;

/** What an agent sends to `POST /v1/enrol`. Keys are raw, base64. */
export const enrolSchema = z.object({
  token: z.string().max(200),
  name: shown(64),
  /** Ed25519. */
  publicKey: z.string().max(64),
  /** X25519: secrets are sealed to it. */
  sealKey: z.string().max(64),
  /** Ed25519 over `enrolText`, base64. */
  signature: z.string().max(128),
});
export type Enrol = z.infer<typeof enrolSchema>;

export const enrolledSchema = z.object({
  host: z.string(),
  region: z.enum(Object.keys(regions) as [Region, ...Region[]]),
  /** Where the agent dials: the fleet Worker. */
  fleetUrl: z.url(),
});
export type Enrolled = z.infer<typeof enrolledSchema>;

/** What an agent sends to `POST /v1/enrol/rotate`: its new keys, as in `enrolSchema`. */
export const rotateSchema = z.object({
  host: z.string().max(64),
  publicKey: z.string().max(64),
  sealKey: z.string().max(64),
  /** `rotateText`, by the new key and by the one that control has. */
  signature: z.string().max(128),
  previousSignature: z.string().max(128),
});
export type Rotate = z.infer<typeof rotateSchema>;

export const rotatedSchema = z.object({
  /** Until when the old key counts beside the new one (ms since the epoch). */
  previousUntil: z.number(),
});
