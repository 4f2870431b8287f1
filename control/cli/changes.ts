import type { ServiceSpec } from "../../schema/serviceSpec.ts";
import { formatDuration } from "../../schema/units.ts";
import { same } from "../same.ts";
import { replacedHow, saidFromZero, saidPolicy, saidRollout, saidSchedule, saidSpot } from "./scaleWords.ts";

/** What applying a spec will do, in lines that a person reads before saying yes. */
export function describeChanges(name: string, old: ServiceSpec | undefined, spec: ServiceSpec): string[] {
  if (old === undefined) return [`Service ${name} will be created: ${summary(spec)}.`];
  const lines: string[] = [];
  const compare = (what: string, before: Said, after: Said) => {
    if (!same(before, after)) lines.push(`  ${what}: ${text(before)} → ${text(after)}`);
  };
  compare("models", old.models, spec.models);
  compare("replicas", saidPolicy(old), saidPolicy(spec));
  compare("schedule", saidSchedule(old), saidSchedule(spec));
  compare("spot", saidSpot(old), saidSpot(spec));
  compare("without a replica, requests", saidFromZero(old), saidFromZero(spec));
  compare("rollout", saidRollout(old), saidRollout(spec));
  compare("providers", old.providers.map((provider) => provider.name), spec.providers.map((provider) => provider.name));
  compare("strategy", old.routing.strategy, spec.routing.strategy);
  compare("fallback chain", old.routing.fallbackChain, spec.routing.fallbackChain);
  compare("attempts", old.routing.attempts, spec.routing.attempts);
  compare("context window fallback", String(old.routing.contextWindowFallback), String(spec.routing.contextWindowFallback));
  compare("hedge after", lasting(old.routing.hedgeAfterMs), lasting(spec.routing.hedgeAfterMs));
  compare("on stream loss", old.routing.onStreamLoss, spec.routing.onStreamLoss);
  compare("timeouts", timeouts(old), timeouts(spec));
  compare("readiness probe", old.task?.probe, spec.task?.probe);
  const replaced = (["setup", "run", "template", "workdir", "envs", "fixedPort", "gpus", "accelerators", "image", "mounts", "limits"] as const).filter((field) => !same(old.task?.[field], spec.task?.[field]));
  if (replaced.length > 0) lines.push(`  ${replaced.join(", ")} changed: ${replacedHow[spec.rollout?.mode ?? "rolling"]}`);
  if (lines.length === 0 && !same(old, spec)) lines.push("  settings that restart nothing");
  if (lines.length === 0) return [`Service ${name} stays as it is, unless a secret has changed.`];
  return [`Service ${name} will be updated:`, ...lines];
}

function summary(spec: ServiceSpec): string {
  const { replicas, task, providers, models } = spec;
  const { min, max } = spec.policy ?? { min: replicas.min, max: replicas.min };
  const parts = [
    ...(task === undefined ? [] : [`${max > min ? `${min} to ${max}` : min} replica${max === 1 ? "" : "s"}${task.gpus > 0 ? ` with ${task.gpus} GPU${task.gpus === 1 ? "" : "s"} each` : ""}`]),
    ...(providers.length === 0 ? [] : [`providers ${providers.map(({ name }) => name).join(", ")}`]),
    `model ${models.join(", ")}`,
  ];
  return parts.join("; ");
}

function lasting(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : formatDuration(ms);
}

function timeouts({ timeouts: { ttftMs, idleMs, totalMs } }: ServiceSpec): string {
  return `first byte ${formatDuration(ttftMs)}, idle ${formatDuration(idleMs)}, total ${formatDuration(totalMs)}`;
}

type Said = string | number | object | undefined;

function text(value: Said): string {
  if (value === undefined) return "none";
  if (typeof value !== "object") return String(value);
  return Array.isArray(value) ? value.join(", ") || "none" : JSON.stringify(value);
}
