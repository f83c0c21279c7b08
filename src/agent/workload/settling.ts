// SPDX-License-Identifier: Apache-2.0
import type { WorkerPool } from "../workers/worker-pool.ts";
import { LINGER_MS } from "./workload-context.ts";

/** Waits after a change until nothing depends any more on what was before it. Ends early, and tells nobody, when disposed of. */
export class Settling implements Disposable {
  readonly #timer: NodeJS.Timeout;
  #waiting: Disposable | undefined;

  /** `dependents`: the connections that count, asked when new ones can no longer come by the old way. */
  constructor(pool: WorkerPool, dependents: () => Iterable<string>, done: () => void) {
    this.#timer = setTimeout(() => {
      this.#waiting = pool.onceEnded(dependents(), done);
    }, LINGER_MS).unref();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#waiting?.[Symbol.dispose]();
  }
}
