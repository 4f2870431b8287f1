import type { Clock } from "../schema/clock.ts";

export const levels = ["debug", "info", "warn", "error"] as const;
export type Level = (typeof levels)[number];
export type Fields = Record<string, string | number | boolean | undefined>;

/** Structured lines: what happened, and the values that belong to it. Callers pass no secrets, and none gets through by mistake. */
export type Log = Record<Level, (message: string, fields?: Fields) => void>;

export interface LogOptions {
  level: Level;
  clock: Clock;
  /** Takes one line without its line break, and the fields that it was made of. */
  write: (line: string, fields: Fields) => void;
  /** Takes secrets out of a line. */
  scrub?: (line: string) => string;
}

/**
 * @example
 * const log = createLog({ level: "info", clock: systemClock, write: console.error });
 * log.info("link is up", { region: "weur" }); // 2026-11-21T08:46:00.000Z info link is up region=weur
 */
export function createLog({ level, clock, write, scrub = (line) => line }: LogOptions): Log {
  const least = levels.indexOf(level);
  const line = (at: Level) => (message: string, fields: Fields = {}) => {
    if (levels.indexOf(at) < least) return;
    let text = `${new Date(clock.now()).toISOString()} ${at} ${plainText(message)}`;
    for (const [name, value] of Object.entries(fields)) if (value !== undefined) text += ` ${name}=${quoted(String(value))}`;
    write(scrub(text), fields);
  };
  return { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") };
}

function quoted(value: string): string {
  return /^[^\s"=\p{C}]+$/u.test(value) ? value : JSON.stringify(plainText(value));
}

/** One line without terminal escapes and control characters: what a replica prints must not drive a person's terminal. */
export function plainText(text: string): string {
  // oxlint-disable-next-line no-control-regex -- the escape character is what is to be removed
  return text.replace(/\u001b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|.)/g, "").replace(/\p{C}+/gu, " ");
}
