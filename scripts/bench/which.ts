import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** The path of an installed command, or undefined. Looks in the sbin folders too: Debian keeps nginx there, and a user's PATH leaves them out. */
export function which(command: string): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/local/sbin", "/usr/sbin", "/sbin"];
  for (const folder of folders) {
    const path = join(folder, command);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this folder.
    }
  }
  return undefined;
}
