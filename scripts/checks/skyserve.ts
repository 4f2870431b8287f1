import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { Command } from "commander";
import { parseDocument } from "yaml";
import { parseService } from "../../schema/service.ts";
import { mutants } from "./mutants.ts";

const { python, checkout, mutations, seed, verbose } = new Command("scripts/checks/skyserve")
  .description("Compare `fairlead validate --strict` with SkyServe's own parser, on every service and pool file of a checkout of SkyPilot and on files made from them by small changes.")
  .option("--python <PATH>", "a Python that has skypilot installed (pip install skypilot); else SKYPILOT_PYTHON", process.env["SKYPILOT_PYTHON"])
  .option("--checkout <FOLDER>", "a checkout of SkyPilot; else SKYPILOT_CHECKOUT", process.env["SKYPILOT_CHECKOUT"])
  .option("--mutations <N>", "how many changed files", Number, 500)
  .option("--seed <N>", "of the changes", Number, 1)
  .option("--verbose", "say every difference, the expected ones too", false)
  .parse()
  .opts<{ python?: string; checkout?: string; mutations: number; seed: number; verbose: boolean }>();

function filesIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.ya?ml$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

interface Answer {
  text: string;
  lenient: string[];
  strict: string[];
}

function answer(file: string, text: string): Answer {
  const errors = (strict: boolean) => parseService(text, { file, strict }).problems.filter(({ level }) => level === "error").map(({ line, field, message }) => `${line} ${field}: ${message}`);
  return { text, lenient: errors(false), strict: errors(true) };
}

/** Where Fairlead's strict answer is knowingly another than SkyServe's, by either one's words. */
const expected: [RegExp, string][] = [
  [/ name: ".*" is not a service name/, "SkyServe calls a service by -n only, or makes a name up"],
  [/service\.ports: is \d+, which resources\.ports does not name/, "SkyServe would call a port that it has not opened"],
  [/ run: is missing/, "SkyServe would start machines that serve nothing"],
  [/(envs|secrets)\.\w+: must be text or a number/, "SkyPilot takes a list's text in Python"],
  [/'(yes|no|on|off)' is not of type 'boolean'/i, "words of YAML 1.1 are taken in quotes too"],
  [/'\d+' is not of type 'integer'.*\$\.ports/, "a port as text is a port"],
  [/IndexError/, "an empty group of accelerators asks for none"],
  [/Unknown load balancing policy: \w*[A-Z]|KeyError: '\w*[A-Z]/, "capitals do not matter: SkyServe's schema says so, and its code does not"],
  [/cannot be used with a pool of workers/, "SkyServe takes workers of a service for its replicas"],
  [/must be (at least 0|more than 0)/, "SkyServe takes counts and times below zero"],
];

if (checkout === undefined || !existsSync(checkout)) {
  console.log("skipped: needs a checkout of SkyPilot, by --checkout or SKYPILOT_CHECKOUT");
  process.exit(0);
}
const files = filesIn(checkout).map((file) => ({ file: relative(checkout, file), text: readFileSync(file, "utf8") })).filter(({ text }) => /^(service|pool):/m.test(text));
const trees = files.flatMap(({ file, text }) => {
  const document = parseDocument(text, { merge: true });
  return document.errors.length > 0 ? [] : [{ file, tree: document.toJS() as Record<string, unknown> }];
});
const ours = new Map([...files, ...mutants(trees, mutations, seed)].map(({ file, text }) => [file, answer(file, text)]));
const corpus = files.map(({ file }) => file);
const refused = corpus.filter((file) => (ours.get(file)?.lenient.length ?? 0) > 0);
console.log(`${corpus.length} service and pool files: ${corpus.length - refused.length} accepted, ${refused.length} refused`);
for (const file of refused) console.log(`  ${file}: ${ours.get(file)?.lenient.join("; ")}`);

if (python === undefined || !existsSync(python)) {
  console.log("not compared: needs a Python that has skypilot, by --python or SKYPILOT_PYTHON");
  process.exit(refused.length > 0 ? 1 : 0);
}
const input = JSON.stringify(Object.fromEntries([...ours].map(([file, { text }]) => [file, text])));
const said = execFileSync(python, [join(import.meta.dirname, "skyserve.py")], { input, maxBuffer: 1 << 28, stdio: ["pipe", "pipe", "ignore"] }).toString();
const theirs = JSON.parse(said) as Record<string, string | null>;

const counts = { "both accept": 0, "both refuse": 0, "not told": 0, expected: 0, different: 0 };
for (const [file, { strict, text }] of ours) {
  const words = theirs[file] ?? null;
  if (words?.startsWith("?")) counts["not told"]++;
  else if ((words === null) === (strict.length === 0)) counts[words === null ? "both accept" : "both refuse"]++;
  else {
    const why = expected.find(([pattern]) => pattern.test(words ?? strict.join("\n")))?.[1];
    counts[why === undefined ? "different" : "expected"]++;
    if (why === undefined || verbose) console.log(`${why === undefined ? "DIFFERENT" : `expected (${why})`} ${file}\n  SkyServe: ${words ?? "accepts"}\n  Fairlead: ${strict.join("; ") || "accepts"}${verbose ? `\n  ${text.slice(0, 2000)}` : ""}`);
  }
}
console.log(`of ${ours.size} files, ${ours.size - corpus.length} of them changed ones (seed ${seed}): ${Object.entries(counts).map(([what, n]) => `${what} ${n}`).join(", ")}`);
process.exit(counts.different > 0 || refused.length > 0 ? 1 : 0);
