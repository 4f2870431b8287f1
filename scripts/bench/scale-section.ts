import type { Target } from "./targets.ts";

/** How a section of `scripts/bench/scale` is to run. */
export interface SectionOptions {
  seeds: readonly number[];
  /** A shorter time. */
  quick: boolean;
  /** What goes on. */
  say: (line: string) => void;
}

export interface SectionResult {
  /** Tables, for people. */
  text: string;
  targets: Target[];
  /** All figures, for `--json`. */
  figures: unknown;
}

export type Section = (options: SectionOptions) => SectionResult;
