import { expect, test } from "vitest";
import { Room, waitingBytesMax, waitingMax } from "./room.ts";

const memory = (): { bytesLeft: number } => ({ bytesLeft: waitingBytesMax });

test("each has its place in the order in which they came, and those behind one that leaves move up", () => {
  const room = new Room(memory());
  const [a, b, c] = [0, 1, 2].map((now) => room.enter(10, now) ?? expect.fail()) as [never, never, never];
  expect([a, b, c].map((one) => room.before(one, 10))).toEqual([0, 1, 2]);
  room.leave(b);
  room.leave(b);
  expect([room.before(a, 10), room.before(c, 10), room.count(10)]).toEqual([0, 1, 2]);
});

test("one that looks no more has left; one that was only slow is the last", () => {
  const of = memory();
  const room = new Room(of);
  const [a, b] = [room.enter(10, 0) ?? expect.fail(), room.enter(10, 0) ?? expect.fail()];
  expect([room.before(b, 5_000), room.before(b, 5_001), room.count(5_001)]).toEqual([1, 0, 1]);
  expect([room.before(a, 6_000), room.before(b, 6_000), room.count(6_000)]).toEqual([1, 0, 2]);
  room.leave(a);
  room.leave(b);
  expect([room.count(6_000), of.bytesLeft]).toEqual([0, waitingBytesMax]);
});

test("holds so many of a service, and so many bytes of all", () => {
  const of = memory();
  const [one, other] = [new Room(of), new Room(of)];
  for (let i = 0; i < waitingMax; i++) expect(one.enter(0, 0)).toBeDefined();
  expect([one.enter(0, 0), other.enter(waitingBytesMax / 2, 0)?.lookedAt, other.enter(waitingBytesMax / 2, 0)]).toEqual([undefined, 0, undefined]);
  // all of them have left without a word
  expect([one.count(6_000), other.count(6_000), of.bytesLeft]).toEqual([0, 0, waitingBytesMax]);
});
