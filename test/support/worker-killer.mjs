// SPDX-License-Identifier: Apache-2.0
// Loaded into an agent by NODE_OPTIONS=--import: SIGUSR2 terminates all its worker threads, as an engine out of memory would.
import { syncBuiltinESMExports } from "node:module";
import threads from "node:worker_threads";

if (threads.isMainThread) {
  /** @type {import("node:worker_threads").Worker[]} */
  const made = [];
  threads.Worker = class extends threads.Worker {
    /** @param {ConstructorParameters<typeof import("node:worker_threads").Worker>} args */
    constructor(...args) {
      super(...args);
      made.push(this);
    }
  };
  syncBuiltinESMExports();
  process.on("SIGUSR2", () => {
    for (const worker of made) void worker.terminate();
  });
}
