import { timeOf, type Answer, type Cloud, type Reading } from "./notice.ts";
import { tokened, type TokenWords } from "./token.ts";

const words: TokenWords = { path: "/latest/api/token", ttlHeader: "x-aliyun-ecs-metadata-token-ttl-seconds", header: "x-aliyun-ecs-metadata-token" };

/** `2026-11-21T18:02:00Z`, five minutes ahead (facts/engines.md §11). */
export function terminationTime({ body }: Answer): Pick<Reading, "notice"> | undefined {
  const at = timeOf(body.trim());
  return at === undefined ? undefined : { notice: { source: "alibaba", at, reason: "Alibaba Cloud releases this spot instance" } };
}

/** ECS's instance metadata. Its hardened mode wants tokens, as EC2's version 2 does; the normal mode answers without. */
export const alibaba: Cloud = {
  name: "alibaba",
  base: "http://100.100.100.200",
  probe: { method: "GET", path: "/latest/meta-data/instance-id", headers: {}, timeoutMs: 1_000 },
  is: ({ status, body }) => (status === 200 && /^i-\w+$/.test(body.trim())) || status === 403,
  watches: [tokened(words, { name: "spot/termination-time", path: "/latest/meta-data/instance/spot/termination-time", everyMs: 5_000, tokenless: true, read: terminationTime })],
};
