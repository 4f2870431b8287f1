import { z } from "zod";

/**
 * The phases of a replica. The reason for a phase is a field beside it, never a phase of its own.
 *
 * - `pending`: assigned, waiting for room
 * - `provisioning`: the executor is getting it a place
 * - `starting`: `setup` or `run` is busy, the readiness probe has not passed since
 * - `ready`: answered its readiness probe since its last start
 * - `unhealthy`: was started, fails its probe or died and will be started again
 * - `sleeping`: weights are off the GPU, can be woken
 * - `draining`: no new work, what is in flight is finished
 * - `stopping`: its processes are being ended
 * - `stopped`, `failed`, `reclaimed`: the ends
 */
export const phases = [
  "pending", "provisioning", "starting", "ready", "unhealthy", "sleeping", "draining", "stopping", "stopped", "failed", "reclaimed",
] as const;

export const phaseSchema = z.enum(phases);
export type Phase = z.infer<typeof phaseSchema>;

/** The one transition table. Each phase's owner is the agent; nobody else writes it. */
export const transitions: Record<Phase, readonly Phase[]> = {
  pending: ["provisioning", "starting", "stopping", "stopped", "failed"],
  provisioning: ["starting", "stopping", "failed", "reclaimed"],
  starting: ["ready", "unhealthy", "draining", "stopping", "failed", "reclaimed"],
  ready: ["unhealthy", "sleeping", "draining", "stopping", "reclaimed"],
  unhealthy: ["ready", "starting", "draining", "stopping", "failed", "reclaimed"],
  sleeping: ["starting", "ready", "unhealthy", "draining", "stopping", "failed", "reclaimed"],
  draining: ["stopping", "failed", "reclaimed"],
  stopping: ["stopped", "failed", "reclaimed"],
  stopped: [],
  failed: [],
  reclaimed: [],
};

/** Whether a replica may go from one phase to another. */
export function canBecome(from: Phase, to: Phase): boolean {
  return transitions[from].includes(to);
}

/** The ends: nothing follows. */
export function isOver(phase: Phase): boolean {
  return transitions[phase].length === 0;
}

/** Whether the replica holds its place on the host (a port, GPUs, memory). */
export function isAlive(phase: Phase): boolean {
  return !isOver(phase);
}
