// SPDX-License-Identifier: Apache-2.0
import { BenchError } from "./bench-error.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Aborts with a BenchError at the first of these signals, or when its caller's signal does. Later ones change nothing:
 * cleaning up is under way, and npm sends what the terminal has sent already.
 */
export class Interruption implements Disposable {
  readonly #controller = new AbortController();
  readonly #interrupt = (): void =>
    this.#controller.abort(new BenchError("ERR_BENCH_INTERRUPTED", "interrupted; everything it made is gone again"));
  readonly #outer: AbortSignal;

  constructor(outer: AbortSignal) {
    this.#outer = outer;
    for (const signal of SIGNALS) process.on(signal, this.#interrupt);
    outer.addEventListener("abort", this.#interrupt);
    if (outer.aborted) this.#interrupt();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    for (const signal of SIGNALS) process.off(signal, this.#interrupt);
    this.#outer.removeEventListener("abort", this.#interrupt);
  }
}
