// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from "node:child_process";

/** Processes that do nothing but keep processors busy, as long as this is not disposed of, or its process gone. */
export class Spinners implements Disposable {
  readonly #children: readonly ChildProcess[];

  constructor(count: number) {
    // The pipe ends with this process, however that ends.
    const script =
      "process.stdin.resume().on('end', () => process.exit()); (function spin() { const end = Date.now() + 50; while (Date.now() < end); setImmediate(spin); })()";
    this.#children = Array.from({ length: count }, () =>
      spawn(process.execPath, ["-e", script], { stdio: ["pipe", "ignore", "inherit"], env: {} }),
    );
  }

  [Symbol.dispose](): void {
    for (const child of this.#children) child.kill("SIGKILL");
  }
}
