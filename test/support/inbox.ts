// SPDX-License-Identifier: Apache-2.0
/** Patience in milliseconds, longer on slow machines. */
export function patienceMs(ms: number): number {
  return ms * Number(process.env["SHUNT_PATIENCE"] ?? "1");
}

/** Things that happen, to be awaited one after another or until one fits. */
export class Inbox<T> {
  readonly all: T[] = [];
  readonly #waiting = new Set<() => void>();
  #taken = 0;

  readonly push = (item: T): void => {
    this.all.push(item);
    for (const wake of this.#waiting) wake();
  };

  /** The next one that nobody has taken. */
  async take(): Promise<T> {
    const index = this.#taken++;
    return this.until((all) => all[index]);
  }

  /** Waits until `find` gives something. Rejects after ten seconds of patience, unless told otherwise. */
  until<R>(find: (all: readonly T[]) => R | undefined | false, deadlineMs = 10_000): Promise<R> {
    return new Promise((resolve, reject) => {
      const check = (): void => {
        const found = find(this.all);
        if (found === undefined || found === false) return;
        clearTimeout(deadline);
        this.#waiting.delete(check);
        resolve(found);
      };
      const deadline = setTimeout(() => {
        this.#waiting.delete(check);
        reject(new Error(`nothing came that ${find.toString()} wants; there is ${JSON.stringify(this.all)}`));
      }, patienceMs(deadlineMs));
      this.#waiting.add(check);
      check();
    });
  }
}

/** Asks again every few milliseconds until the answer is truthy. Rejects after ten seconds of patience. */
export async function eventually<R>(ask: () => R | undefined | false): Promise<R> {
  const deadline = performance.now() + patienceMs(10_000);
  for (;;) {
    const answer = ask();
    if (answer !== undefined && answer !== false) return answer;
    if (performance.now() > deadline) throw new Error(`never came true: ${ask.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
