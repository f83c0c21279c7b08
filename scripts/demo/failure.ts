// SPDX-License-Identifier: Apache-2.0

/** An end of the demo that one sentence explains. */
export class DemoFailure extends Error {
  readonly exitCode: number;

  /** @param exitCode 1 for a failure, 2 for wrong use, 69 for "not possible on this machine" */
  constructor(message: string, exitCode = 1) {
    super(message);
    this.name = "DemoFailure";
    this.exitCode = exitCode;
  }
}
