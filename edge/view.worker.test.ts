import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { bundle, publish, routeService, soon, world } from "../test/worker/world.ts";
import type { RouterEnv } from "./env.ts";
import { forgetView, getView } from "./view.ts";

const request = new Request("http://router/v1/models");
/** Longer than a view is used without being waited for (30 s). */
const staleMs = 40_000;

let asked = 0;
/** A Hub that takes every question and answers none: frozen, or out of reach. */
const silent: RouterEnv = { ...world, HUB: { getByName: () => ({ view: () => (asked++, new Promise(() => undefined)) }) } as unknown as RouterEnv["HUB"] };
let behind: Promise<unknown>[] = [];
const waitUntil = (work: Promise<unknown>): void => void behind.push(work);

beforeEach(async () => {
  forgetView();
  asked = 0;
  behind = [];
  await publish(bundle(Date.now(), { services: [routeService("chat")] }));
  await getView(world, request, waitUntil);
});
afterEach(() => void vi.restoreAllMocks());

/** So much later. */
function later(ms: number): void {
  const at = Date.now() + ms;
  vi.spyOn(Date, "now").mockImplementation(() => at);
}

test("a Hub that hangs costs one request a wait of 2 s, and those after it nothing: they go on with what is known", async () => {
  later(staleMs);
  const first = getView(silent, request, waitUntil);
  expect(first).toBeInstanceOf(Promise);
  const view = await first;
  expect(view?.routes.byName.has("chat")).toBe(true);
  for (let i = 0; i < 10; i++) expect(getView(silent, request, waitUntil)).toBe(view);
  // and it is asked behind them, by one at a time
  expect(asked).toBe(2);
});

test("a question that hangs does not keep the next one from being asked", async () => {
  later(2_000);
  expect(getView(silent, request, waitUntil)).not.toBeInstanceOf(Promise);
  expect(asked).toBe(1);
  await Promise.all(behind);
  await soon("the next question", 1_000, () => (getView(silent, request, waitUntil), asked === 2 ? true : undefined));
});
