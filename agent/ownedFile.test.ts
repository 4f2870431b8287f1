import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readOwned } from "./ownedFile.ts";

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "fairlead-owned-"));
  file = join(folder, "templates.yaml");
  await writeFile(file, "content", { mode: 0o644 });
});
afterEach(() => rm(folder, { recursive: true }));

const uid = process.getuid?.();

describe.skipIf(uid === undefined)("readOwned()", () => {
  test("reads what only its owner can change", async () => {
    expect(await readOwned(file)).toBe("content");
  });

  test.each([0o664, 0o646, 0o666])("refuses a file of mode %o", async (mode) => {
    await chmod(file, mode);
    await expect(readOwned(file)).rejects.toThrow(`${file}: it can be written by others than its owner; run chmod go-w`);
  });

  test("refuses a file in a folder in which others can put another in its place, also behind a link", async () => {
    const open = join(folder, "open");
    await mkdir(open);
    await writeFile(join(open, "t.yaml"), "x", { mode: 0o644 });
    await symlink(join(open, "t.yaml"), join(folder, "link.yaml"));
    await chmod(open, 0o777);
    for (const path of [join(open, "t.yaml"), join(folder, "link.yaml")]) await expect(readOwned(path)).rejects.toThrow(`${open} can be written by others`);
    await chmod(open, 0o1777);
    expect(await readOwned(join(open, "t.yaml"))).toBe("x");
  });

  test("refuses a file of another user's, and says that there is none", async () => {
    const owner = (uid ?? 0) === 0 ? 12_345 : uid;
    if (owner === 12_345) {
      const { chown } = await import("node:fs/promises");
      await chown(file, owner, owner);
    }
    await (owner === 12_345 ? expect(readOwned(file)).rejects.toThrow("belongs to user 12345") : expect(readOwned(file, { uid: 12_345 })).rejects.toThrow(`belongs to user ${owner}`));
    await expect(readOwned(join(folder, "none.yaml"))).rejects.toThrow("Cannot read");
  });
});
