import { expect, test } from "vitest";
import { ownReplicasSchema, type RouteService } from "../../schema/bundle.ts";
import { engineSchema, type Engine } from "../../schema/protocol.ts";
import { replicaCandidate, type Candidate, type ReplicaRow } from "./candidates.ts";

function continuation(engine: Engine | undefined, said?: Candidate["continuation"]): string {
  const row: ReplicaRow = {
    takenAt: 0,
    host: { id: "h", relays: [0], heardAt: 0, linkUp: true, draining: false },
    replica: { id: "a", service: "s", number: 1, version: 1, phase: "ready", host: "h", since: 0, inFlight: 0, ...(engine === undefined ? {} : { engine }) },
  };
  return replicaCandidate({ replicas: ownReplicasSchema.parse({ continuation: said }) } as RouteService, row).continuation;
}

test.each<[Engine | undefined, string]>([
  ["vllm", "tokens"],
  // it answers a streamed chat that asks for token ids with an error
  ["sglang", "text"],
  ["llamacpp", "text"],
  ["tgi", "none"],
  ["trtllm", "none"],
  ["triton", "none"],
  ["ollama", "none"],
  [undefined, "none"],
])("a replica of %s can continue by %s", (engine, expected) => {
  expect(continuation(engine)).toBe(expected);
});

test("what the service says of its replicas goes before what their engine is known for", () => {
  for (const engine of engineSchema.options) expect(continuation(engine, "none")).toBe("none");
  expect(continuation(undefined, "tokens")).toBe("tokens");
});
