import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Completes package-lock.json with the optional packages of other platforms. npm leaves out those that the registry in use cannot
 * serve, and `npm ci` then refuses the lock on every machine. Run after each `npm install` that changes the lock:
 * `node scripts/lock.ts`.
 */
interface Entry {
  version?: string;
  optional?: boolean;
  dev?: boolean;
  cpu?: string[];
  os?: string[];
  optionalDependencies?: Record<string, string>;
}

const file = join(import.meta.dirname, "../package-lock.json");
const lock = JSON.parse(readFileSync(file, "utf8")) as { packages: Record<string, Entry> };

const systems: Record<string, string> = { darwin: "darwin", linux: "linux", windows: "win32", win32: "win32", freebsd: "freebsd", openbsd: "openbsd", netbsd: "netbsd", android: "android", openharmony: "openharmony", sunos: "sunos", aix: "aix" };
const processors: Record<string, string> = { x64: "x64", 64: "x64", arm64: "arm64", arm: "arm", ia32: "ia32" };

/** The platform that a package's name speaks of; one that names none is for a machine that is not ours. */
function platform(name: string): Pick<Entry, "os" | "cpu"> {
  const words = name.split(/[/-]/);
  const os = words.map((word) => systems[word]).find((word) => word !== undefined);
  const cpu = words.map((word) => processors[word]).find((word) => word !== undefined);
  return { ...(cpu === undefined ? {} : { cpu: [cpu] }), os: [os ?? "none"] };
}

let added = 0;
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const nested = path === "" ? `node_modules/${name}` : `${path}/node_modules/${name}`;
    const top = `node_modules/${name}`;
    if (lock.packages[nested] !== undefined || lock.packages[top] !== undefined || !/^\d/.test(version)) continue;
    lock.packages[top] = { version, ...platform(name), ...(entry.dev === undefined ? {} : { dev: entry.dev }), optional: true };
    added++;
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
console.log(`${added} optional packages of other platforms added to package-lock.json`);
