import { expect, test } from "vitest";
import { askKind } from "./kind.ts";
import type { Question } from "./notice.ts";

/** Answers by path; a token where one is asked for with PUT. */
function service(says: Record<string, string>) {
  const asked: Question[] = [];
  return {
    asked,
    ask: async (question: Question) => {
      asked.push(question);
      const body = question.method === "PUT" ? "a-token-of-twenty-letters" : says[question.path];
      return { status: body === undefined ? 404 : 200, body: body ?? "", header: () => undefined };
    },
  };
}

test.each<[string, Record<string, string>, object]>([
  ["aws", { "/latest/meta-data/placement/availability-zone": "us-east-1a", "/latest/meta-data/instance-life-cycle": "spot" }, { zone: "us-east-1a", spot: true }],
  ["aws", { "/latest/meta-data/placement/availability-zone": "us-east-1a", "/latest/meta-data/instance-life-cycle": "on-demand" }, { zone: "us-east-1a", spot: false }],
  ["aws", { "/latest/meta-data/instance-life-cycle": "scheduled" }, {}],
  ["gcp", { "/computeMetadata/v1/instance/zone": "projects/123/zones/us-central1-a", "/computeMetadata/v1/instance/scheduling/preemptible": "TRUE" }, { zone: "us-central1-a", spot: true }],
  ["gcp", { "/computeMetadata/v1/instance/zone": "<html>", "/computeMetadata/v1/instance/scheduling/preemptible": "FALSE" }, { spot: false }],
  ["azure", { "/metadata/instance/compute?api-version=2021-02-01": '{"location":"eastus","zone":"2","priority":"Spot"}' }, { zone: "eastus-2", spot: true }],
  ["azure", { "/metadata/instance/compute?api-version=2021-02-01": '{"location":"eastus","zone":"","priority":"Regular"}' }, { zone: "eastus", spot: false }],
  ["azure", { "/metadata/instance/compute?api-version=2021-02-01": "not JSON" }, {}],
  ["alibaba", { "/latest/meta-data/zone-id": "cn-hangzhou-b" }, { zone: "cn-hangzhou-b" }],
  ["nowhere", {}, {}],
])("askKind() of %s saying %j", async (cloud, says, kind) => {
  expect(await askKind(cloud, service(says).ask)).toEqual(kind);
});

test("askKind() shows AWS the token that it was given", async () => {
  const { asked, ask } = service({});
  await askKind("aws", ask);
  expect(asked.filter(({ method }) => method === "GET").map(({ headers }) => headers["x-aws-ec2-metadata-token"])).toEqual(["a-token-of-twenty-letters", "a-token-of-twenty-letters"]);
});
