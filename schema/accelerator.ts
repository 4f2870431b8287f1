import type { Task } from "./task.ts";

type Wish = Pick<Task, "accelerators" | "gpus">;

function entryOf({ accelerators }: Wish, name: string): { name: string; count: number } | undefined {
  return accelerators?.find((one) => one.name.toUpperCase() === name.toUpperCase());
}

/** Whether a task may run on GPUs of this name; on those that have none, by their number alone. */
export function suits(task: Wish, accelerator: string | undefined): boolean {
  return task.accelerators === undefined || task.accelerators.length === 0 || accelerator === undefined || entryOf(task, accelerator) !== undefined;
}

/** How many GPUs of this name one replica of a task takes. Part of one is one. */
export function gpusOn(task: Wish, accelerator: string | undefined): number {
  const entry = accelerator === undefined ? undefined : entryOf(task, accelerator);
  return entry === undefined ? task.gpus : Math.ceil(entry.count);
}

const baseOf = (accelerator: string): string => (accelerator.split(":")[0] ?? "").toLowerCase();

/** What one replica on an accelerator serves: as named exactly, else by the name before its count, else the least of all. */
export function qpsOn(targets: Readonly<Record<string, number>>, accelerator: string | undefined): number {
  const least = Math.min(...Object.values(targets));
  if (accelerator === undefined) return least;
  const exact = targets[accelerator];
  if (exact !== undefined) return exact;
  // of several counts of the same accelerator the least, which promises too little rather than too much
  const same = Object.entries(targets).filter(([key]) => baseOf(key) === baseOf(accelerator)).map(([, qps]) => qps);
  return same.length === 0 ? least : Math.min(...same);
}
