// SPDX-License-Identifier: Apache-2.0
import { constants } from "node:os";

/** The demo was told to end before it was done. */
export class Interrupted extends Error {
  readonly signal: NodeJS.Signals;

  constructor(signal: NodeJS.Signals) {
    super(`interrupted by ${signal}`);
    this.name = "Interrupted";
    this.signal = signal;
  }

  /** As a shell tells it. */
  get exitCode(): number {
    return 128 + constants.signals[this.signal];
  }
}

/**
 * Aborts at the first SIGINT, SIGTERM or SIGHUP, and when nobody reads the output any more; the reason is an
 * `Interrupted`. Later signals change nothing: cleaning up is under way, and npm may send what the terminal has sent
 * already.
 */
export function untilInterrupted(): AbortSignal {
  const controller = new AbortController();
  const interrupt = (signal: NodeJS.Signals): void => controller.abort(new Interrupted(signal));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => interrupt(signal));
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => interrupt("SIGPIPE"));
  return controller.signal;
}
