import { readFile } from "node:fs/promises";
import { Failure } from "./failure.ts";

/** A file that cannot be read, and why. */
export class Unreadable extends Failure {
  readonly why: string;

  constructor(file: string, why: string) {
    super(`Cannot read ${file}: ${why}`);
    this.why = why;
  }
}

/** @param file `-` for standard input. @throws Unreadable */
export async function readText(file: string): Promise<string> {
  const text = file === "-" ? readInput() : readFile(file, "utf8");
  return text.catch((error: NodeJS.ErrnoException) => {
    throw new Unreadable(file, error.code === "ENOENT" ? "there is no such file" : error.code === "EISDIR" ? "it is a folder" : error.message);
  });
}

async function readInput(): Promise<string> {
  let text = "";
  for await (const chunk of process.stdin.setEncoding("utf8")) text += String(chunk);
  return text;
}
