import fc from "fast-check";
import { expect, test } from "vitest";
import { Stops } from "./stops.ts";

/** What an engine gives that looks for stop strings from the beginning. */
function whole(text: string, stops: readonly string[], include: boolean): string {
  let end: number | undefined;
  let ending = "";
  for (const stop of stops) {
    const at = text.indexOf(stop);
    if (at >= 0 && (end === undefined || at < end)) {
      end = at;
      ending = stop;
    }
  }
  return end === undefined ? text : text.slice(0, end + (include ? ending.length : 0));
}

const abc = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 30 });
const stopStrings = fc.array(fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 3 });

test("Stops: wherever the seam is, and however the rest comes, the text ends where one engine would have ended it", () => {
  fc.assert(
    fc.property(abc, stopStrings, fc.boolean(), fc.nat(30), fc.nat(6), fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1 }), (text, stops, include, seamAt, lag, sizes) => {
      const first = text.slice(0, seamAt);
      // one that holds another never comes to its end
      fc.pre(stops.every((stop, i) => stops.every((other, j) => i === j || !other.includes(stop))));
      // the first engine would have seen one that was whole
      fc.pre(stops.every((stop) => !first.includes(stop)));
      // and it holds back as many characters as may begin one
      const hold = include ? Math.min(lag, 1) : Math.max(...stops.map(({ length }) => length - 1));
      const delivered = first.slice(0, Math.max(0, first.length - hold));
      const seam = new Stops(stops, include, delivered, first.slice(delivered.length));
      let given = delivered;
      for (let at = first.length, i = 0; at < text.length && seam.stopped === undefined; i++) {
        const size = sizes[i % sizes.length] ?? 1;
        given += seam.push(text.slice(at, at + size));
        at += size;
      }
      if (seam.stopped === undefined) given += seam.flush();
      const expected = whole(text, stops, include);
      expect({ given, stopped: seam.stopped !== undefined }).toEqual({ given: expected, stopped: stops.some((stop) => text.includes(stop)) });
    }),
    { numRuns: 3_000 },
  );
});

test("Stops: what the first engine held is given with the first that follows, and nothing that may begin a stop string", () => {
  const stops = new Stops(["END."], false, "one ", "two");
  expect(stops.push(" E")).toBe("tw");
  expect(stops.push("ND")).toBe("o ");
  expect(stops.push("!")).toBe("E");
  expect(stops.flush()).toBe("ND!");
  expect(stops.stopped).toBeUndefined();
});

test("Stops: a stop string that began before the seam ends it there", () => {
  const stops = new Stops(["\n\n##"], false, "text", "\n\n");
  expect(stops.push("#")).toBe("");
  expect(stops.push("# more")).toBe("");
  expect(stops.stopped).toBe("\n\n##");
  expect(stops.push("more")).toBe("");
});
