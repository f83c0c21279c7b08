// SPDX-License-Identifier: Apache-2.0

/** An end that is explained in one sentence and needs no stack trace. */
export class SetupFailure extends Error {
  /**
   * @param {string} message
   * @param {number} exitCode 1 for a failure, 69 for "not possible on this machine"
   */
  constructor(message, exitCode = 1) {
    super(message);
    this.name = "SetupFailure";
    this.exitCode = exitCode;
  }
}

/**
 * Runs an entry script and turns its failure into a sentence and an exit code.
 * @param {() => Promise<number>} main
 */
export async function runEntry(main) {
  try {
    process.exitCode = await main();
  } catch (error) {
    if (!(error instanceof SetupFailure)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = error.exitCode;
  }
}
