import type { Report } from "./problem.ts";
import type { ServiceYaml } from "./serviceYaml.ts";

/** The rules of `rollout:`. What belongs to another mode than the file's stays: `fairlead update --mode` may name that one. */
export function checkRollout({ rollout }: ServiceYaml, report: Report): void {
  if (rollout == null) return;
  const at = ["service", "rollout"];
  const mode = rollout.mode ?? "rolling";
  for (const [field, its] of [["steps", "canary"], ["share", "ab"], ["ready_min", "blue_green"], ["keep", "blue_green"]] as const) {
    if (rollout[field] != null && mode !== its) report("warning", [...at, field], `is of mode: ${its}, and the mode is ${mode}`);
  }
  (rollout.steps ?? []).forEach(({ share }, i, steps) => {
    const before = steps[i - 1]?.share;
    if (before !== undefined && share <= before) report("error", [...at, "steps", i, "share"], `is ${percent(share)}, and the step before it is ${percent(before)}: shares must rise`);
  });
}

function percent(share: number): string {
  return `${Math.round(share * 10_000) / 100}%`;
}
