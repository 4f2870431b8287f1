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
