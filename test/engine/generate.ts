import { setMaxListeners } from "node:events";
import type { Engine } from "./engine.ts";
import type { AnyStep } from "./frames.ts";
import type { Plan, SequencePlan } from "./plan.ts";
import { answer } from "./text.ts";
import { pause } from "./timing.ts";

/** How a request's sequences went. */
export interface Generated {
  completionTokens: number;
  cachedTokens: number;
}

/** Takes one token to the client. Resolves when the next may follow. */
export type Deliver = (sequence: SequencePlan, step: AnyStep, soFar: Readonly<Generated>) => Promise<void>;

const seconds = (from: number): number => (performance.now() - from) / 1000;

async function runSequence(engine: Engine, plan: Plan, sequence: SequencePlan, itlMs: number, signal: AbortSignal, soFar: Generated, deliver: Deliver): Promise<void> {
  const { settings, counters, scheduler, log } = engine;
  const arrivedAt = performance.now();
  const givenUp = engine.abortSignal;
  const admitted = scheduler.admit(sequence.promptIds, plan.model.name, signal);
  log.changed();
  const seat = await admitted;
  log.changed();
  let reason = "abort";
  try {
    counters.queueSeconds.observe(seconds(arrivedAt));
    counters.promptTokens += sequence.promptIds.length;
    if (sequence.choice === 0) soFar.cachedTokens += seat.kv.cachedTokens;
    let dueAt = performance.now() + settings.ttftMs + settings.prefillPerTokenMs * (sequence.promptIds.length - seat.kv.cachedTokens);
    let lastAt: number | undefined;
    for (const step of answer(sequence, plan.model)) {
      await pause(dueAt - performance.now(), signal);
      const now = performance.now();
      if (lastAt === undefined) counters.ttftSeconds.observe(seconds(arrivedAt));
      else counters.itlSeconds.observe((now - lastAt) / 1000);
      lastAt = now;
      dueAt = Math.max(dueAt, now - itlMs) + itlMs;
      counters.generationTokens++;
      soFar.completionTokens++;
      seat.kv.grow(step.id);
      if (givenUp.aborted) {
        await deliver(sequence, { ...step, finish: { reason: "abort", stopReason: null } }, soFar);
        return;
      }
      await deliver(sequence, step, soFar);
      if (step.finish !== undefined) reason = step.finish.reason;
    }
    if (lastAt === undefined) reason = "length";
  } finally {
    seat.leave();
    counters.success[reason] = (counters.success[reason] ?? 0) + 1;
    counters.e2eSeconds.observe(seconds(arrivedAt));
    log.changed();
  }
}

/** Runs all sequences of a request in the engine's time. When one cannot go on, or the signal aborts, all end at once. @param itlMs time between tokens */
export async function generate(engine: Engine, plan: Plan, itlMs: number, signal: AbortSignal, deliver: Deliver): Promise<Generated> {
  const group = new AbortController();
  const either = AbortSignal.any([signal, group.signal]);
  setMaxListeners(0, either);
  const soFar: Generated = { completionTokens: 0, cachedTokens: 0 };
  await Promise.all(
    plan.sequences.map(async (sequence) => {
      try {
        await runSequence(engine, plan, sequence, itlMs, either, soFar, deliver);
      } catch (error) {
        group.abort();
        throw error;
      }
    }),
  );
  return soFar;
}
