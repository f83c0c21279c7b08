// SPDX-License-Identifier: Apache-2.0
/** Things that end together, last come first gone. Node 20 has no DisposableStack. */
export class Disposables implements Disposable {
  readonly #held: Disposable[] = [];

  use<T extends Disposable>(thing: T): T {
    this.#held.push(thing);
    return thing;
  }

  /** Every one of them, even if one fails; the first failure is thrown afterwards. */
  [Symbol.dispose](): void {
    const failures: unknown[] = [];
    for (let thing = this.#held.pop(); thing !== undefined; thing = this.#held.pop()) {
      try {
        thing[Symbol.dispose]();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}
