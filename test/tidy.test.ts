import { basename, dirname } from "node:path";
import { describe, expect, test } from "vitest";
import { circle, importsOf, isExecutable, namedIn, reached, read, walk, withoutComments, type Import } from "./tidy/tree.ts";

const files = walk();
const sources = files.filter((path) => /\.(ts|mjs)$/.test(path));
const isTest = (path: string): boolean => path.endsWith(".test.ts") || path.startsWith("test/");
/** This file holds samples, which are no imports. */
const self = "test/tidy.test.ts";
const imports: Import[] = [...sources.filter((path) => path !== self).flatMap((path) => importsOf(path)), { from: self, to: "test/tidy/tree.ts", typeOnly: false }];

// ——— the parts, and within them what is pure and what is a door ———

/** Folders in which every file is pure, the one named like its folder too. */
const pureFolders = ["edge/route/", "edge/scale/", "edge/provider/", "agent/engines/", "agent/reclaim/"];

/** Files that do I/O, read the clock or hold state, beside those that are named like their folder. */
const doors = new Set([
  // entries
  "edge/router.ts", "edge/fleet.ts", "edge/app.ts",
  // an isolate's memory, the platform's bindings, a socket's end
  "edge/view.ts", "edge/decisions.ts", "edge/quarantine.ts", "edge/regions.ts", "edge/env.ts", "edge/closeQuietly.ts",
  // fetch and streams
  "edge/forward/attempt.ts", "edge/forward/carriage.ts", "edge/forward/relays.ts", "edge/forward/direct.ts", "edge/forward/sendToProvider.ts", "edge/forward/stream.ts", "edge/forward/handThrough.ts", "edge/forward/memory.ts", "edge/relay/carried.ts",
  // a Durable Object in a folder of pure files
  "edge/scale/scaler.ts",
]);

/** The pure files of parts that are not laid out in folders with a door each. */
const pureByName = new Set([
  "agent/heartbeat.ts", "agent/headers.ts", "agent/mux.ts", "agent/reconcile.ts", "agent/reconnect.ts", "agent/replay.ts",
  "agent/readings/amd.ts", "agent/readings/dcgm.ts", "agent/readings/host.ts", "agent/readings/nvidia.ts", "agent/readings/steady.ts", "agent/scrub.ts", "agent/lines.ts",
  "agent/gatePaths.ts", "agent/override.ts", "agent/templates.ts",
  "control/redact.ts", "control/replicaName.ts", "control/same.ts", "control/cli/changes.ts", "control/cli/scaleWords.ts",
]);

function isDoor(path: string): boolean {
  return doors.has(path) || path.startsWith("edge/http/") || basename(path, ".ts") === basename(dirname(path));
}

function isPure(path: string): boolean {
  if (isTest(path)) return false;
  if (doors.has(path)) return false;
  if (path.startsWith("schema/") || pureByName.has(path) || pureFolders.some((folder) => path.startsWith(folder))) return true;
  return path.startsWith("edge/") && path.endsWith(".ts") && !isDoor(path);
}

const durableObjects = new Set(files.filter((path) => /^edge\/.*\.ts$/.test(path) && !isTest(path) && /extends DurableObject\b/.test(read(path))));
const edgeEntries = new Set(["edge/router.ts", "edge/fleet.ts"]);
const inPart = (part: string) => (path: string): boolean => path.startsWith(`${part}/`);
const isOurs = (path: string): boolean => files.includes(path);

interface Rule {
  rule: string;
  /** An import that it forbids. */
  such: { from: string; to: string };
  because: string;
  forbids: (edge: Import) => boolean;
}

const rules: Rule[] = [
  {
    rule: "schema imports nothing of ours but schema",
    such: { from: "schema/frames.ts", to: "edge/relay/mux.ts" },
    because: "it is the ground floor: every part speaks its words, so it can depend on none of them",
    forbids: ({ from, to }) => inPart("schema")(from) && isOurs(to) && !inPart("schema")(to),
  },
  ...["edge", "agent", "control"].flatMap((part) =>
    ["edge", "agent", "control"].filter((other) => other !== part).map((other): Rule => ({
      rule: `${part} does not import ${other}`,
      such: { from: `${part}/x.ts`, to: `${other}/y.ts` },
      because: "they run in different places and are deployed apart: they share words (schema), not code",
      forbids: ({ from, to }) => inPart(part)(from) && inPart(other)(to),
    })),
  ),
  {
    rule: "nothing that ships imports test/ or scripts/",
    such: { from: "edge/view.ts", to: "scripts/up.ts" },
    because: "they are not there when the parts run",
    forbids: ({ from, to }) => !isTest(from) && !inPart("scripts")(from) && (inPart("test")(to) || inPart("scripts")(to)),
  },
  {
    rule: "nobody imports a test file",
    such: { from: "test/tidy/tree.ts", to: "schema/frames.test.ts" },
    because: "its tests would run twice, or outside a test",
    forbids: ({ to }) => to.endsWith(".test.ts"),
  },
  {
    rule: "a pure file imports schema and pure files of its own part only",
    such: { from: "edge/route/route.ts", to: "edge/view.ts" },
    because: "what decides is kept apart from what acts, so that it can be tested and simulated without either",
    forbids: ({ from, to, typeOnly }) => isPure(from) && isOurs(to) && !inPart("schema")(to) && !isPure(to) && !(typeOnly && inPart(from.split("/")[0] ?? "")(to)),
  },
  {
    rule: "a pure file imports no platform: neither node: nor cloudflare: modules",
    such: { from: "edge/relay/mux.ts", to: "cloudflare:workers" },
    because: "it runs in workerd, in Node and in a simulator alike",
    forbids: ({ from, to }) => isPure(from) && /^(node|cloudflare):/.test(to),
  },
  {
    rule: "cloudflare: modules are the edge's",
    such: { from: "schema/frames.ts", to: "cloudflare:workers" },
    because: "they exist in workerd only",
    forbids: ({ from, to }) => to.startsWith("cloudflare:") && !inPart("edge")(from) && !inPart("test/worker")(from),
  },
  {
    rule: "the edge imports no node: module",
    such: { from: "edge/view.ts", to: "node:fs" },
    because: "workerd runs it without Node's compatibility layer",
    forbids: ({ from, to }) => inPart("edge")(from) && !isTest(from) && to.startsWith("node:"),
  },
  {
    rule: "a Durable Object is reached by its stub: only its entry imports its class",
    such: { from: "edge/view.ts", to: "edge/hub/hub.ts" },
    because: "two objects in one isolate must not share memory by accident; a type may be imported for the binding",
    forbids: ({ from, to, typeOnly }) => durableObjects.has(to) && !typeOnly && from !== "edge/fleet.ts" && !isTest(from),
  },
  {
    rule: "edge/http is imported by app.ts, the entries and itself only",
    such: { from: "edge/hub/hub.ts", to: "edge/http/body.ts" },
    because: "it is the top floor of the edge: what others need of it belongs below",
    forbids: ({ from, to }) => inPart("edge/http")(to) && !inPart("edge/http")(from) && from !== "edge/app.ts" && !edgeEntries.has(from) && !isTest(from),
  },
  {
    rule: "app.ts is imported by its entry only, and entries by nobody",
    such: { from: "edge/http/models.ts", to: "edge/app.ts" },
    because: "what mounts everything depends on everything",
    forbids: ({ from, to }) =>
      !isTest(from) && ((to === "edge/app.ts" && from !== "edge/router.ts") || edgeEntries.has(to) || (to === "control/app.ts" && from !== "control/start.ts" && from !== "control/server.ts" && from !== "control/worker.ts")),
  },
  {
    rule: "control/queries imports schema and the database only",
    such: { from: "control/queries/keys.ts", to: "control/publish.ts" },
    because: "a query is a question to the database, not a decision",
    forbids: ({ from, to }) => inPart("control/queries")(from) && !isTest(from) && isOurs(to) && !inPart("schema")(to) && !inPart("control/queries")(to) && to !== "control/db.ts",
  },
  {
    rule: "schema/tables.ts is control's",
    such: { from: "agent/index.ts", to: "schema/tables.ts" },
    because: "edge and agents have no database; what they need comes in a bundle",
    forbids: ({ from, to }) => to === "schema/tables.ts" && !inPart("control")(from) && !inPart("schema")(from) && !isTest(from) && from !== "drizzle.config.ts",
  },
];

describe("imports", () => {
  test.each(rules)("$rule: $because", ({ forbids }) => {
    expect(imports.filter(forbids).map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
  });

  test("every import of a file of ours finds it", () => {
    expect(imports.filter(({ to }) => /^[\w.-]+\/.*\.(ts|mjs)$/.test(to) && /^(schema|edge|agent|control|test|scripts)\//.test(to) && !isOurs(to)).map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
  });

  test("there are no circles", () => {
    const edges = new Map<string, string[]>();
    for (const { from, to, typeOnly } of imports) {
      // bindings name the classes behind them; types only, erased before anything runs
      if (from === "edge/env.ts" && typeOnly && durableObjects.has(to)) continue;
      if (isOurs(to)) edges.set(from, [...(edges.get(from) ?? []), to]);
    }
    expect(circle(edges)).toBeUndefined();
  });

  const running = new Map<string, string[]>();
  for (const { from, to, typeOnly } of imports) if (!typeOnly) running.set(from, [...(running.get(from) ?? []), to]);

  test.each([
    { who: "what runs in workerd", from: ["edge/router.ts", "edge/fleet.ts"], never: /^(node:|drizzle-orm|yaml$|@libsql\/|undici$|ws$|commander$)/, because: "it has none of them, and a request pays for every module of a cold isolate" },
    { who: "the agent", from: ["agent/index.ts"], never: /^(drizzle-orm|@libsql\/|hono|@hono\/)/, because: "it dials out, serves nobody and keeps no database" },
    { who: "the fairlead command", from: ["control/cli/main.ts"], never: /^(@libsql\/|hono|@hono\/|control\/(db|app|start|server|change|publish|edge)\.ts$|control\/queries\/)/, because: "it runs on another machine and speaks to control over HTTP" },
    { who: "schema", from: sources.filter((path) => isPure(path) && path.startsWith("schema/")), never: /^(?!zod$|yaml$|drizzle-orm\/sqlite-core$|schema\/)/, because: "it describes; it does nothing" },
  ])("$who does not reach what it must do without: $because", ({ from, never }) => {
    expect(from.filter((path) => !isOurs(path))).toEqual([]);
    expect([...reached(from, running)].filter((to) => never.test(to))).toEqual([]);
  });
});

describe("pure files", () => {
  const impure: [RegExp, string][] = [
    [/\bDate\.now\(/, "Date.now"], [/\bMath\.random\(/, "Math.random"], [/\bnew Date\(\)/, "new Date()"], [/\bperformance\.now\(/, "performance.now"], [/(?<![\w.#])fetch\(/, "fetch"], [/\bprocess\./, "process"], [/\bconsole\./, "console"],
  ];

  test("read no clock and throw no dice, and neither ask nor tell anyone: time and chance are arguments", () => {
    const found = sources.filter((path) => isPure(path) && path !== "schema/clock.ts").flatMap((path) => {
      const text = withoutComments(read(path));
      return impure.filter(([pattern]) => pattern.test(text)).map(([, name]) => `${path} uses ${name}`);
    });
    expect(found).toEqual([]);
  });

  test("every file that is listed here as a door or as pure is there, or is in the design", () => {
    const designed = new Set(["edge/scale/scaler.ts"]);
    expect([...doors, ...pureByName].filter((path) => !isOurs(path) && !designed.has(path))).toEqual([]);
  });
});

describe("files", () => {
  test("there is none that nothing starts or imports", () => {
    const edges = new Map<string, string[]>();
    for (const { from, to } of imports) edges.set(from, [...(edges.get(from) ?? []), to]);
    // what starts: bins, Workers, configurations, shell scripts and whatever those name; a file that a source starts is named in it
    const starters = files.filter((path) => path === "package.json" || path.endsWith(".config.ts") || /^(wrangler[\w.]*|test\/worker\/wrangler)\.toml$/.test(path) || (/^(scripts|\.ci)\//.test(path) && read(path).startsWith("#!")));
    const runs = new Map(edges);
    for (const path of [...sources.filter((path) => path !== self), ...starters]) runs.set(path, [...(edges.get(path) ?? []), ...namedIn(path).filter((named) => named !== path && isOurs(named))]);
    const tested = reached(sources.filter((path) => path.endsWith(".test.ts")), runs);
    const started = reached(starters, runs);
    const lonely = sources.filter((path) => !started.has(path) && !(isTest(path) && (tested.has(path) || path.endsWith(".test.ts"))));
    // a stand-in lives beside what it stands in for, and is for tests only
    expect(lonely.filter((path) => !(path.endsWith("StandIn.ts") && tested.has(path)))).toEqual([]);
  });

  test("each is named for its subject", () => {
    const empty = /^(utils?|helpers?|misc|common|manager)$/i;
    const words = (name: string): string[] => name.replace(/\..*$/, "").split(/[-_.]|(?<=[a-z])(?=[A-Z])/);
    expect(files.filter((path) => path.split("/").some((name) => words(name).some((word) => empty.test(word))))).toEqual([]);
  });

  /** Words that must not stand in this file either. */
  const whole = (parts: readonly string[]): string => parts.join("");
  const texts = files.filter((path) => path !== "package-lock.json" && !/\.(png|svg|ico|woff2?|gz|zip|bin)$/.test(path));

  test("none leaves work for later in a comment", () => {
    const marks = new RegExp(`\\b(${[["TO", "DO"], ["FIX", "ME"], ["XX", "X"]].map(whole).join("|")})\\b`);
    expect(texts.flatMap((path) => read(path).split("\n").flatMap((line, i) => (marks.test(line) ? [`${path}:${i + 1}: ${line.trim()}`] : [])))).toEqual([]);
  });

  test("none names a place that only one machine has", () => {
    const place = new RegExp(`(?<![\\w.:/-])/(?:${[["ho", "me/\\w"], ["Us", "ers/\\w"], ["ro", "ot/"], ["wo", "rk/"]].map(whole).join("|")})`);
    expect(texts.flatMap((path) => read(path).split("\n").flatMap((line, i) => (place.test(line) ? [`${path}:${i + 1}: ${line.trim()}`] : [])))).toEqual([]);
  });

  test("scripts and bins can be executed", () => {
    const bins = Object.values((JSON.parse(read("package.json")) as { bin: Record<string, string> }).bin);
    const entries = files.filter((path) => /^(scripts|\.ci)\//.test(path) && read(path).startsWith("#!"));
    expect(entries.length).toBeGreaterThan(0);
    expect([...bins, ...entries].filter((path) => !isExecutable(path))).toEqual([]);
  });
});

describe("the check itself", () => {
  test("finds every form of import, and none in a comment", () => {
    const source = `
import a from "./a.ts";
import { b,
  c } from "./b.ts";
import type { D } from "./d.ts";
import "./e.ts";
export { f } from "./f.ts";
export * from "../g/g.ts";
import * as h from "node:fs";
// import x from "./x.ts";
/* import y from "./y.ts"; */
const i = await import("./i.ts");
type J = import("./j.ts").J;
const k = new URL("./k.ts", import.meta.url);
export const l = "not from \\"./l.ts\\"";
`;
    expect(importsOf("edge/x/x.ts", source).map(({ to, typeOnly }) => (typeOnly ? `type ${to}` : to))).toEqual([
      "edge/x/a.ts", "edge/x/b.ts", "type edge/x/d.ts", "edge/x/f.ts", "edge/g/g.ts", "node:fs", "edge/x/e.ts", "edge/x/i.ts", "type edge/x/j.ts", "edge/x/k.ts",
    ]);
  });

  test("finds a circle, and none where there is none", () => {
    expect(circle(new Map([["a", ["b"]], ["b", ["c", "d"]], ["d", ["b"]]]))).toEqual(["b", "d", "b"]);
    expect(circle(new Map([["a", ["b", "c"]], ["b", ["c"]]]))).toBeUndefined();
  });

  test("finds the files that a script starts", () => {
    expect(namedIn("scripts/up", 'exec node "$root/scripts/up.ts" "$@"')).toContain("scripts/up.ts");
    expect(namedIn("scripts/bench/children.ts", 'spawn(join(import.meta.dirname, "load.ts"))')).toContain("scripts/bench/load.ts");
  });

  test.each(rules)("forbids: $rule", ({ such, forbids }) => {
    expect(forbids({ ...such, typeOnly: false })).toBe(true);
  });

  test("knows the Durable Objects", () => {
    expect([...durableObjects].sort()).toEqual(expect.arrayContaining(["edge/hub/hub.ts", "edge/relay/relay.ts"]));
  });
});

test("the lock file names the optional packages of every platform (`npm run lock` adds what npm left out)", () => {
  const lock = JSON.parse(read("package-lock.json")) as { packages: Record<string, { optionalDependencies?: Record<string, string> }> };
  const lacking = Object.entries(lock.packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter((name) => lock.packages[`node_modules/${name}`] === undefined && lock.packages[`${path}/node_modules/${name}`] === undefined),
  );
  expect(lacking).toEqual([]);
});
