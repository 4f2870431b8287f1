/** What a command that waits says meanwhile, on stderr: a spinner on a terminal, plain lines elsewhere. */
export interface Progress {
  /** What is being waited for; replaces what was said before. */
  waiting(text: string): void;
  /** Something that happened, on a line that stays. */
  note(line: string): void;
  stop(): void;
}

export async function startProgress(): Promise<Progress> {
  if (!process.stderr.isTTY) {
    let last = "";
    return {
      waiting(text) {
        if (text !== last) console.error(text);
        last = text;
      },
      note: (line) => console.error(line),
      stop: () => undefined,
    };
  }
  const { default: ora } = await import("ora");
  // the keyboard stays the shell's: Ctrl-C must end the command
  const spinner = ora({ discardStdin: false });
  return {
    waiting(text) {
      spinner.text = text;
      if (!spinner.isSpinning) spinner.start();
    },
    note(line) {
      const spinning = spinner.isSpinning;
      spinner.stop();
      console.error(line);
      if (spinning) spinner.start();
    },
    stop: () => void spinner.stop(),
  };
}
