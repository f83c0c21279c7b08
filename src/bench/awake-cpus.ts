// SPDX-License-Identifier: Apache-2.0
import { closeSync, openSync, writeSync } from "node:fs";

/** Documentation/power/pm_qos_interface.rst: as long as it stays open, the number written to it holds. */
const LATENCY_REQUEST = "/dev/cpu_dma_latency";

/**
 * Keeps the CPUs from sleeping deeply while it lives: a virtual CPU that halts needs some 50 µs to wake up again, which
 * is many times what one request takes, and how often it halts differs from round to round.
 */
export class AwakeCpus implements Disposable {
  readonly #fd: number | undefined;
  /** Why not, where the kernel does not let us. */
  readonly hindrance: string | undefined;

  constructor(path = LATENCY_REQUEST) {
    try {
      this.#fd = openSync(path, "w");
      // Microseconds, as a 32-bit number of the machine's byte order.
      writeSync(this.#fd, new Uint8Array(new Int32Array([0]).buffer));
    } catch (error) {
      this.hindrance = (error as Error).message;
    }
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
  }
}
