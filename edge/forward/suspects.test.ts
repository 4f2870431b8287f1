import { expect, test } from "vitest";
import { Suspects } from "./suspects.ts";

const relays = [0, 1, 3];
const picks = (suspects: Suspects, at: number): number[] => [0, 0.4, 0.9].map((chance) => suspects.first("h", relays, () => chance, () => at));

test("each relay of a host is as likely to be asked first as the others", () => {
  expect(picks(new Suspects(), 0)).toEqual([0, 1, 2]);
});

test("one that did not say that a request has arrived is passed over for 5 s, where another is there", () => {
  const suspects = new Suspects();
  suspects.add("h/1", 0);
  expect(picks(suspects, 4_999)).toEqual([0, 2, 2]);
  expect(picks(suspects, 5_000)).toEqual([0, 1, 2]);
  suspects.add("h/0", 0);
  suspects.add("h/1", 0);
  suspects.add("h/3", 0);
  expect(picks(suspects, 1)).toEqual([0, 1, 2]);
});

test("it remembers a bounded number of relays", () => {
  const suspects = new Suspects();
  for (let i = 0; i <= 1_024; i++) suspects.add(`h${i}/0`, 0);
  expect([suspects.has("h0/0", 1), suspects.has("h1/0", 1)]).toEqual([false, true]);
});

test("one that did not answer is passed over until it is heard, and asked once a second meanwhile", () => {
  const suspects = new Suspects();
  expect(suspects.mayAsk("h/1", 0)).toBe(true);
  expect(suspects.silence("h/1", 500)).toBe(true);
  expect(suspects.silence("h/1", 600)).toBe(false);
  expect(picks(suspects, 3_600_000)).toEqual([0, 2, 2]);
  expect([999, 1_000, 1_999, 2_000].map((now) => suspects.mayAsk("h/1", now))).toEqual([false, true, false, true]);
  expect(suspects.silentOf("h", relays)).toEqual(["h/1"]);
  expect(suspects.answered("h/1", true, 2_100)).toBe(1_600);
  expect(picks(suspects, 2_100)).toEqual([0, 1, 2]);
  expect([suspects.isEmpty, suspects.silentOf("h", relays)]).toEqual([true, []]);
});

test("where all are suspect, one that does not even answer is the last to be asked", () => {
  const suspects = new Suspects();
  for (const relay of relays) suspects.add(`h/${relay}`, 0);
  suspects.silence("h/1", 0);
  expect(picks(suspects, 1)).toEqual([0, 2, 2]);
  for (const relay of relays) suspects.silence(`h/${relay}`, 0);
  expect(picks(suspects, 1)).toEqual([0, 1, 2]);
});

test("a host whose relays are all silent is known to be", () => {
  const suspects = new Suspects();
  for (const relay of relays) {
    expect(suspects.hasAll("h", relays, 0)).toBe(false);
    suspects.silence(`h/${relay}`, 0);
  }
  expect(suspects.hasAll("h", relays, 3_600_000)).toBe(true);
  suspects.answered("h/3", false, 3_600_000);
  expect(suspects.hasAll("h", relays, 3_600_000)).toBe(false);
});
