import { expect, test } from "vitest";
import { endToEnd } from "./headers.ts";

test("endToEnd() drops the hop's headers, those that Connection names, and keeps cookies apart", () => {
  expect(
    endToEnd([["Connection", "close, X-Secret"], ["x-secret", "1"], ["Transfer-Encoding", "chunked"], ["TE", "trailers"], ["Set-Cookie", "a=1"], ["set-cookie", "b=2"], ["content-encoding", "br"], ["Host", "x"]], ["host"]),
  ).toEqual([["Set-Cookie", "a=1"], ["set-cookie", "b=2"], ["content-encoding", "br"]]);
});
