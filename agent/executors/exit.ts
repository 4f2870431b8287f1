import { constants } from "node:os";
import type { Exit } from "../executor.ts";

/** The exit of a script as a shell passes it on: 128+n says that signal n ended it. */
export function exitOf(code: number | null, name: NodeJS.Signals | null): Pick<Exit, "code" | "signal"> {
  if (name !== null) return { code: undefined, signal: name };
  const number = (code ?? 0) - 128;
  const known = number > 0 ? Object.entries(constants.signals).find(([, value]) => value === number)?.[0] : undefined;
  return known === undefined ? { code: code ?? 0, signal: undefined } : { code: undefined, signal: known };
}

/** For the replica's own log. */
export function describeExit(stage: "setup" | "run", { code, signal }: Pick<Exit, "code" | "signal">): string {
  return `${stage} ${signal === undefined ? `exited with code ${code}` : `was ended by ${signal}`}`;
}
