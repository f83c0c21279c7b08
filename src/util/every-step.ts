// SPDX-License-Identifier: Apache-2.0
/** Runs the steps of a removal to the last one, whatever fails on the way, and tells everything that failed in the end. */
export class EveryStep {
  readonly errors: Error[] = [];

  async run(step: () => Promise<unknown>): Promise<void> {
    try {
      await step();
    } catch (error) {
      this.errors.push(error as Error);
    }
  }

  runSync(step: () => unknown): void {
    try {
      step();
    } catch (error) {
      this.errors.push(error as Error);
    }
  }

  /** Throws an AggregateError whose message has `what` and every step's. */
  throwIfAny(what: string): void {
    if (this.errors.length === 0) return;
    throw new AggregateError(this.errors, `${what}: ${this.errors.map(({ message }) => message).join("; ")}`);
  }
}
