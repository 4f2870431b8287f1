import { createServer, type Server } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { seeded } from "../../schema/clock.ts";
import type { Gpu } from "../gpu.ts";
import { keepPlaces } from "./places.ts";

const gpu = (index: number): Gpu => ({ vendor: "nvidia", index, uuid: `GPU-${index}` });

async function listen(host: string): Promise<number> {
  const server: Server = createServer();
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  onTestFinished(() => void server.close());
  return (server.address() as { port: number }).port;
}

describe("keepPlaces()", () => {
  test("gives no port twice, however many ask at a time, and none outside its range", async () => {
    const places = keepPlaces({ listGpus: async () => [], ports: [21_000, 21_030], random: seeded(1) });
    const ports = await Promise.all(Array.from({ length: 20 }, async (_, i) => (await places.take(`r.local.${i}`, { gpus: 0 })).port));
    expect(new Set(ports).size).toBe(20);
    expect(ports.filter((port) => port >= 21_000 && port < 21_030).length).toBeGreaterThan(15);
    expect(places.holders().size).toBe(20);
    places.give("r.local.3");
    expect(places.holders().has("r.local.3")).toBe(false);
  });

  test.each(["127.0.0.1", "0.0.0.0"])("chooses no port that somebody else listens on at %s, and says so of one that must be that", async (host) => {
    const port = await listen(host);
    const places = keepPlaces({ listGpus: async () => [], ports: [port, port + 1], random: seeded(1) });
    expect((await places.take("a.local.1", { gpus: 0 })).port).not.toBe(port);
    await expect(places.take("b.local.1", { gpus: 0, fixedPort: port })).rejects.toMatchObject({ wait: true, message: `port ${port} is in use by another program on this host` });
    expect(places.holders()).toEqual(new Set(["a.local.1"]));
  });

  test("gives no GPU twice, and takes back GPUs whose port could not be had", async () => {
    const places = keepPlaces({ listGpus: async () => [gpu(0), gpu(1), gpu(2)] });
    const taken = await listen("127.0.0.1");
    await expect(places.take("a.local.1", { gpus: 3, fixedPort: taken })).rejects.toThrow(`port ${taken} is in use`);
    const [a, b] = await Promise.all([places.take("a.local.1", { gpus: 2 }), places.take("b.local.1", { gpus: 1 })]);
    expect([...a.gpus, ...b.gpus].map(({ index }) => index).toSorted((x, y) => x - y)).toEqual([0, 1, 2]);
    await expect(places.take("c.local.1", { gpus: 1 })).rejects.toMatchObject({ wait: true, message: "it needs one GPU, and of this host's 3 none are free; a.local.1, b.local.1 have the others" });
    places.give("a.local.1");
    expect((await places.take("c.local.1", { gpus: 2 })).gpus).toEqual(a.gpus);
    expect(await places.takeAgain("a.local.1", a)).toBeUndefined();
    places.give("c.local.1");
    expect(await places.takeAgain("a.local.1", a)).toBe(a);
  });

  test("says of a host without GPUs that it has none, and forgets none while the driver does not answer", async () => {
    let listed: Gpu[] = [];
    const places = keepPlaces({ listGpus: async () => listed });
    await expect(places.take("a.local.1", { gpus: 2 })).rejects.toMatchObject({ wait: true, message: "it needs 2 GPUs, and this host has none" });
    listed = [gpu(0)];
    await places.take("a.local.1", { gpus: 1 });
    listed = [];
    await expect(places.take("b.local.1", { gpus: 1 })).rejects.toThrow("of this host's 1 none are free; a.local.1 has the others");
  });
});
