import { readFile } from "node:fs/promises";
import { Failure } from "./failure.ts";

/** @param file `-` for standard input */
export async function readText(file: string): Promise<string> {
  const text = file === "-" ? readInput() : readFile(file, "utf8");
  return text.catch((error: NodeJS.ErrnoException) => {
    throw new Failure(`Cannot read ${file}: ${error.code === "ENOENT" ? "there is no such file" : error.code === "EISDIR" ? "it is a folder" : error.message}`);
  });
}

async function readInput(): Promise<string> {
  let text = "";
  for await (const chunk of process.stdin.setEncoding("utf8")) text += String(chunk);
  return text;
}
