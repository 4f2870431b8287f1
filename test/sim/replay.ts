/** Runs the world of a seed and tells what happened in it: `node test/sim/replay.ts SEED`. */
import { simulate } from "./simulate.ts";
import { worldOf } from "./worlds.ts";

const seed = Number(process.argv[2]);
if (!Number.isInteger(seed)) {
  process.stderr.write("Cannot replay: a seed is wanted, as in `node test/sim/replay.ts 42`\n");
  process.exit(2);
}
const world = worldOf(seed);
process.stdout.write(`${JSON.stringify({ hosts: world.hosts.length, services: world.services, faults: world.faults }, undefined, 2)}\n`);
try {
  const { lines, outcomes } = simulate(world);
  process.stdout.write(`${lines.join("\n")}\n`);
  for (const [service, { asked, answered, refused, failed, resumed, drained, cutByStop }] of Object.entries(outcomes)) process.stdout.write(`${service}: ${JSON.stringify({ asked, answered, refused, failed, resumed, drained, cutByStop })}\n`);
} catch (error) {
  process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
