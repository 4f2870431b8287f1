import type { Now } from "../../schema/clock.ts";

/** A connection of a host that took over from one that was still open. */
export interface Takeover {
  at: Now;
  /** The runs of an agent (`hello.instance`) that came and that had to go; absent for agents that do not say. */
  came?: string;
  went?: string;
}

/** A host that is shut out because its identity is in two places. */
export interface Clone {
  since: Now;
  reason: string;
  /** The host's `releases` when it was shut out: it is let in again when an operator has raised it. Another key does not: the copy could make one as well. */
  releases: number;
}

/** Three takeovers within a minute are a fight (facts/failures.md §2). */
const fight = { takeovers: 3, withinMs: 60_000 };
/**
 * Two of our own agents wait for 60 to 90 s each time they are superseded (`agent/reconnect.ts`), so that they never are as quick;
 * but a run of an agent that comes back after another one was there is alive beside it. Within so long three such turns are taken.
 */
const turnsWithinMs = 10 * 60_000;
const keptMax = 8;

/** What is kept of a host's takeovers, this one included. A run that takes over from itself has only lost its connection. */
export function noted(before: readonly Takeover[], next: Takeover): Takeover[] {
  if (next.came !== undefined && next.came === next.went) return [...before];
  return [...before.filter(({ at }) => next.at - at < turnsWithinMs), next].slice(-keptMax);
}

/** Why a host's identity must be in two places, if it must. */
export function fighting(takeovers: readonly Takeover[], now: Now): string | undefined {
  const quick = takeovers.filter(({ at }) => now - at < fight.withinMs).length;
  const isTurn = ({ came }: Takeover, i: number): boolean => came !== undefined && takeovers.slice(0, i).some((earlier) => earlier.went === came);
  const turns = takeovers.filter((one, i) => now - one.at < turnsWithinMs && isTurn(one, i)).length;
  if (quick < fight.takeovers && (turns < 2 || takeovers.length < fight.takeovers)) return undefined;
  return `two agents with this host's key took over from each other ${takeovers.length} times: its identity was copied`;
}

/** Whether a quarantine still holds for a host as its operator has it now. */
export function holds(clone: Clone, host: { releases?: number | undefined }): boolean {
  return (host.releases ?? 0) <= clone.releases;
}
