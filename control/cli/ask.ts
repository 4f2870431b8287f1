import { createInterface } from "node:readline/promises";
import { Failure } from "./failure.ts";

/** Ask before something is changed. @throws Failure when the answer is no, or when nobody is there to answer */
export async function confirm(question: string, yes: boolean | undefined): Promise<void> {
  if (yes === true) return;
  if (!process.stdin.isTTY) throw new Failure("Cannot ask whether to go on: this is not a terminal; pass -y to say yes", 2);
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await lines.question(`${question} [y/N] `);
    if (!/^y(es)?$/i.test(answer.trim())) throw new Failure("Cannot go on: you said no");
  } finally {
    lines.close();
  }
}
