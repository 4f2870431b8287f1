import { randomUUID } from "node:crypto";
import type { Body } from "./ask.ts";
import { breakWhole, Delivery, sendWhole } from "./delivery.ts";
import type { Door } from "./delivery.ts";
import type { Engine } from "./engine.ts";
import { ChatFrames, TextFrames } from "./frames.ts";
import type { AnyStep, Frames, Usage } from "./frames.ts";
import { generate } from "./generate.ts";
import type { Generated } from "./generate.ts";
import { planRequest } from "./plan.ts";
import type { Plan } from "./plan.ts";
import { Refusal } from "./refusal.ts";
import type { Entry } from "./requestlog.ts";

/** A chat or completions request on its way. */
interface Job {
  engine: Engine;
  door: Door;
  entry: Entry;
  body: Body;
  plan: Plan;
  frames: Frames;
  itlMs: number;
}

function usageOf(job: Job, { completionTokens, cachedTokens }: Readonly<Generated>): Usage {
  const { promptTokens } = job.plan;
  return {
    prompt_tokens: promptTokens,
    total_tokens: promptTokens + completionTokens,
    completion_tokens: completionTokens,
    prompt_tokens_details: job.engine.settings.promptTokensDetails ? { cached_tokens: cachedTokens } : null,
  };
}

async function answerStream(job: Job): Promise<void> {
  const { engine, door, entry, body, plan, frames } = job;
  const delivery = new Delivery(door, () => engine.log.token(entry));
  const asksUsage = body.stream_options?.include_usage === true;
  const continuous = asksUsage && body.stream_options?.continuous_usage_stats === true;
  const dress = (frame: object | undefined, soFar: Readonly<Generated>): object | undefined => (frame === undefined || !asksUsage ? frame : { ...frame, usage: continuous ? usageOf(job, soFar) : null });
  await delivery.open();
  let opened = false;
  const open = async (soFar: Readonly<Generated>): Promise<void> => {
    if (opened) return;
    opened = true;
    for (const frame of frames.opening()) await delivery.frame(dress(frame, soFar), 0);
  };
  const generated = await generate(engine, plan, job.itlMs, door.signal, async (sequence, step, soFar) => {
    await open(soFar);
    await delivery.frame(dress(frames.step(sequence, step), soFar), 1);
  });
  await open(generated);
  if (asksUsage) await delivery.frame(frames.usage(usageOf(job, generated)), 0);
  await delivery.close();
}

async function answerWhole(job: Job): Promise<void> {
  const { engine, door, entry, plan, frames } = job;
  const due = door.failure.break;
  const steps: AnyStep[][] = plan.sequences.map(() => []);
  let breaks = due?.afterTokens === 0;
  if (due !== undefined && breaks) await breakWhole(door, due.kind);
  const generated = await generate(engine, plan, job.itlMs, door.signal, async (sequence, step, soFar) => {
    steps[sequence.index]?.push(step);
    engine.log.token(entry);
    if (due === undefined || breaks || soFar.completionTokens < due.afterTokens) return;
    breaks = true;
    await breakWhole(door, due.kind);
  });
  await sendWhole(door, frames.whole(steps, usageOf(job, generated)), breaks);
}

/** Answers `/v1/chat/completions` or `/v1/completions`. @param requestId becomes part of the answer's id, as in vLLM */
export async function answerInference(engine: Engine, door: Door, entry: Entry, body: Body, kind: Plan["kind"], requestId: string | undefined): Promise<void> {
  const { served, ...model } = engine.model(body.model);
  const plan = planRequest(body, { model, contextTokensMax: engine.settings.contextTokensMax }, kind);
  if (engine.sleeping) throw new Refusal(503, "The engine is sleeping.");
  engine.log.images(entry, plan.images);
  const head = { id: `${kind === "chat" ? "chatcmpl" : "cmpl"}-${requestId ?? randomUUID().replaceAll("-", "")}`, created: Math.floor(Date.now() / 1000), model: served };
  const frames = kind === "chat" ? new ChatFrames(head, body, plan) : new TextFrames(head, body, plan);
  const job: Job = { engine, door, entry, body, plan, frames, itlMs: door.failure.itlMs ?? engine.settings.itlMs };
  await (body.stream === true ? answerStream(job) : answerWhole(job));
}
