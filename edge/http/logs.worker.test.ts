import { runInDurableObject } from "cloudflare:test";
import { expect, test } from "vitest";
import { frameKinds, jsonFrame, noPayload, readRequestHead, windowBytes, windowFrame } from "../../schema/frames.ts";
import { bundle, newHost, publish, self, TestLink, TestRelayLink, world } from "../../test/worker/world.ts";

test("a log is read through the host's other relay when the first is lost with the request", async () => {
  const known = await newHost("host_logs");
  await publish(bundle(Date.now(), { hosts: [known] }));
  const control = await TestLink.join(known);
  const [first, second] = await Promise.all((control.welcome?.relays ?? []).slice(0, 2).map((ticket) => TestRelayLink.open(known.id, ticket)));
  if (first === undefined || second === undefined) throw new Error("a host has two relays");
  const answer = self.fetch(`http://router/internal/logs/${known.id}`, { headers: { authorization: `Bearer ${world.FAIRLEAD_CONTROL_TOKEN}` } });
  await first.next(frameKinds.open);
  await runInDurableObject(world.RELAY.getByName(`${known.id}/0`), (_, state) => state.abort("lost")).catch(() => undefined);
  const open = await second.next(frameKinds.open);
  expect(readRequestHead(open)).toMatchObject({ target: "agent", path: "/log" });
  second.send(windowFrame(open.stream, windowBytes), jsonFrame(frameKinds.open, open.stream, { status: 200, headers: [] }), { kind: frameKinds.data, stream: open.stream, sequence: 0, payload: new TextEncoder().encode("a line\n") }, { kind: frameKinds.end, stream: open.stream, sequence: 0, payload: noPayload });
  const response = await answer;
  expect([response.status, await response.text()]).toEqual([200, "a line\n"]);
  second.socket.close(1000, "done");
});
