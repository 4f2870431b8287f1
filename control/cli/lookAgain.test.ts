import { expect, test } from "vitest";
import { Away, Failure } from "./failure.ts";
import { lookAgain } from "./lookAgain.ts";

test("lookAgain() goes on waiting while control is away, says so, and ends with any other failure", async () => {
  const said: string[] = [];
  const progress = { waiting: (text: string) => void said.push(text) };
  const looks = [() => Promise.reject(new Away("Cannot reach control at http://c: refused")), () => Promise.resolve(7)];
  expect([await lookAgain(looks[0] as () => Promise<number>, progress), await lookAgain(looks[1] as () => Promise<number>, progress)]).toEqual([undefined, 7]);
  expect(said).toEqual(["Cannot reach control at http://c: refused; it is asked again"]);
  const refused = new Failure("Cannot use the control API: the admin key is not known");
  await expect(lookAgain(() => Promise.reject(refused), progress)).rejects.toBe(refused);
});
