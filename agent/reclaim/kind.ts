import { askToken, type TokenWords } from "./token.ts";
import { fieldsOf, type Answer, type Question } from "./notice.ts";

/** What a cloud says of the machine. */
export interface CloudKind {
  zone?: string;
  spot?: boolean;
}

/** One question, and what its answer says; nothing where it cannot be read. */
export interface KindQuestion {
  /** A token is asked for first. */
  token?: TokenWords;
  question: Question;
  read: (answer: Answer) => CloudKind;
}

const get = (path: string, headers: Record<string, string> = {}): Question => ({ method: "GET", path, headers, timeoutMs: 2_000 });
const zoneIn = (text: string): CloudKind => (/^[a-z0-9][a-z0-9-]{1,40}$/.test(text) ? { zone: text } : {});

const awsToken: TokenWords = { path: "/latest/api/token", ttlHeader: "x-aws-ec2-metadata-token-ttl-seconds", header: "x-aws-ec2-metadata-token" };
const gcpHeaders = { "metadata-flavor": "Google" };

/** By cloud (docs.aws.amazon.com: "Instance metadata categories"; cloud.google.com: "Predefined metadata keys"; learn.microsoft.com: "Instance Metadata Service"). */
export const kindQuestions: Readonly<Record<string, readonly KindQuestion[]>> = {
  aws: [
    { token: awsToken, question: get("/latest/meta-data/placement/availability-zone"), read: ({ body }) => zoneIn(body.trim()) },
    { token: awsToken, question: get("/latest/meta-data/instance-life-cycle"), read: ({ body }) => (body.trim() === "spot" ? { spot: true } : body.trim() === "on-demand" ? { spot: false } : {}) },
  ],
  gcp: [
    // projects/123/zones/us-central1-a
    { question: get("/computeMetadata/v1/instance/zone", gcpHeaders), read: ({ body }) => zoneIn(body.trim().split("/").at(-1) ?? "") },
    { question: get("/computeMetadata/v1/instance/scheduling/preemptible", gcpHeaders), read: ({ body }) => (body.trim() === "TRUE" ? { spot: true } : body.trim() === "FALSE" ? { spot: false } : {}) },
  ],
  azure: [{
    question: get("/metadata/instance/compute?api-version=2021-02-01", { metadata: "true" }),
    read({ body }) {
      const { location, zone, priority } = fieldsOf(body);
      return {
        ...(typeof location === "string" && location !== "" ? zoneIn(typeof zone === "string" && zone !== "" ? `${location}-${zone}` : location) : {}),
        ...(priority === "Spot" || priority === "Low" ? { spot: true } : priority === "Regular" ? { spot: false } : {}),
      };
    },
  }],
  alibaba: [{ question: get("/latest/meta-data/zone-id"), read: ({ body }) => zoneIn(body.trim()) }],
};

/**
 * What a cloud says of the machine that this runs on; what it does not say is missing.
 *
 * @param ask puts a question to its metadata service
 */
export async function askKind(cloud: string, ask: (question: Question) => Promise<Answer | undefined>): Promise<CloudKind> {
  let kind: CloudKind = {};
  for (const { token, question, read } of kindQuestions[cloud] ?? []) {
    let { headers } = question;
    if (token !== undefined) {
      const given = await ask(askToken(token));
      if (given?.status !== 200) continue;
      headers = { ...headers, [token.header]: given.body.trim() };
    }
    const answer = await ask({ ...question, headers });
    if (answer?.status === 200) kind = { ...kind, ...read(answer) };
  }
  return kind;
}
