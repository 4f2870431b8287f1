/** A failure to be shown as one line, `fairlead: Cannot …: …`, and the exit code that goes with it. */
export class Failure extends Error {
  readonly exitCode: 1 | 2;

  constructor(message: string, exitCode: 1 | 2 = 1) {
    super(message);
    this.name = "Failure";
    this.exitCode = exitCode;
  }
}

/** Control cannot be reached, or cannot answer: later it may. */
export class Away extends Failure {}
