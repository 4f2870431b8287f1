import { fieldsOf, timeOf, type Answer, type Cloud, type Reading } from "./notice.ts";
import { askToken, tokened, type TokenWords } from "./token.ts";

const words: TokenWords = { path: "/latest/api/token", ttlHeader: "x-aws-ec2-metadata-token-ttl-seconds", header: "x-aws-ec2-metadata-token" };

/** AWS recommends it: a notice comes two minutes ahead, best effort (facts/engines.md §11). */
const everyMs = 5_000;

const actions: Record<string, string> = { terminate: "terminates", stop: "stops", hibernate: "hibernates" };

/** `{"action": "terminate", "time": "2026-11-21T08:22:00Z"}` */
export function instanceAction({ body }: Answer): Pick<Reading, "notice"> | undefined {
  const { action, time } = fieldsOf(body);
  const at = timeOf(time);
  if (typeof action !== "string" || at === undefined) return undefined;
  return { notice: { source: "aws", at, reason: `AWS ${actions[action] ?? "takes back"} this spot instance` } };
}

/** `{"noticeTime": "2026-11-21T08:22:00Z"}`: at elevated risk. It may be taken soon, or not at all. */
export function rebalance({ body }: Answer): Pick<Reading, "notice"> | undefined {
  return timeOf(fieldsOf(body)["noticeTime"]) === undefined ? undefined : { notice: { source: "aws", reason: "AWS recommends leaving this spot instance: it may be taken back soon" } };
}

/** EC2's instance metadata, version 2 (docs.aws.amazon.com: "Spot Instance interruption notices", "EC2 instance rebalance recommendations"). */
export const aws: Cloud = {
  name: "aws",
  base: "http://169.254.169.254",
  probe: { ...askToken(words), timeoutMs: 1_000 },
  // those that speak EC2's words without being EC2 know no tokens, or answer with a page
  is: ({ status, body }) => status === 200 && /^[\w+/=-]{20,}$/.test(body.trim()),
  watches: [
    tokened(words, { name: "spot/instance-action", path: "/latest/meta-data/spot/instance-action", everyMs, read: instanceAction }),
    tokened(words, { name: "rebalance", path: "/latest/meta-data/events/recommendations/rebalance", everyMs, read: rebalance }),
  ],
};
