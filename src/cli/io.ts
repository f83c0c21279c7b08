// SPDX-License-Identifier: Apache-2.0
/** The world of a command as it is handed in, so that a test can be the terminal. */
export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
}

export interface CliIo {
  readonly stdout: Output;
  readonly stderr: Output;
  /** Aborts when the person or the supervisor asks the program to end. Commands that go on for ever end then, with status 0. */
  readonly signal: AbortSignal;
}
