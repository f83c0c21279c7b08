// SPDX-License-Identifier: Apache-2.0
/** Things that end together, last come first gone. Node 20 has no AsyncDisposableStack. */
export class Belongings implements AsyncDisposable {
  readonly #held: AsyncDisposable[] = [];

  use<T extends AsyncDisposable>(thing: T): T {
    this.#held.push(thing);
    return thing;
  }

  defer(end: () => Promise<unknown> | undefined): void {
    this.#held.push({
      async [Symbol.asyncDispose]() {
        await end();
      },
    });
  }

  /** Every one of them, even if one fails; the first failure is thrown afterwards. */
  async [Symbol.asyncDispose](): Promise<void> {
    const failures: unknown[] = [];
    for (let thing = this.#held.pop(); thing !== undefined; thing = this.#held.pop()) {
      try {
        await thing[Symbol.asyncDispose]();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}
