import { describe, expect, test } from "vitest";
import { Held, heldBytesMax, unacknowledgedMax } from "./held.ts";

function after(work: (held: Held) => void): boolean {
  const held = new Held();
  work(held);
  return held.isFull;
}
const open = (held: Held, count: number): void => Array.from({ length: count }).forEach(() => held.opened());

describe("a Relay is full", () => {
  test.each<[string, (held: Held) => void, boolean]>([
    ["with nothing", () => undefined, false],
    ["with as many requests as its agent can acknowledge in time", (held) => open(held, unacknowledgedMax), true],
    ["with one less", (held) => open(held, unacknowledgedMax - 1), false],
    ["when one of them was acknowledged", (held) => (open(held, unacknowledgedMax), held.settled(0)), false],
    ["with answers that nobody reads", (held) => held.unread(heldBytesMax), true],
    ["when they have been read", (held) => (held.unread(heldBytesMax), held.unread(0)), false],
    ["with bodies that its agent does not take", (held) => (open(held, 1), held.sent(heldBytesMax)), true],
    ["when it has taken them", (held) => (open(held, 1), held.sent(heldBytesMax), held.settled(heldBytesMax)), false],
    ["with some of both", (held) => (open(held, 1), held.sent(heldBytesMax / 2), held.unread(heldBytesMax / 2)), true],
  ])("%s", (_, work, expected) => {
    expect(after(work)).toBe(expected);
  });
});
