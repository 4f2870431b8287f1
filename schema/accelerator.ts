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
