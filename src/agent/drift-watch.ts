// SPDX-License-Identifier: Apache-2.0
import type { Logger } from "../util/log.ts";
import type { Workload } from "./workload/workload.ts";

/** Compares every now and then what is in force with what should be, one workload after another, and repairs it. */
export class DriftWatch implements Disposable {
  readonly #workloads: () => Iterable<Workload>;
  readonly #log: Logger;
  #intervalMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> | undefined;
  #ended = false;

  constructor(workloads: () => Iterable<Workload>, log: Logger) {
    this.#workloads = workloads;
    this.#log = log;
  }

  /** 0: never by itself. The time counts from the end of a round. */
  every(intervalMs: number): void {
    this.#intervalMs = intervalMs;
    if (this.#round === undefined) this.#arm();
  }

  /** A round that is under way serves as well. */
  verify(): Promise<void> {
    this.#round ??= this.#verifyAll().finally(() => {
      this.#round = undefined;
      this.#arm();
    });
    return this.#round;
  }

  [Symbol.dispose](): void {
    this.#ended = true;
    clearTimeout(this.#timer);
  }

  #arm(): void {
    clearTimeout(this.#timer);
    if (this.#intervalMs === 0 || this.#ended) return;
    this.#timer = setTimeout(() => void this.verify(), this.#intervalMs).unref();
  }

  async #verifyAll(): Promise<void> {
    for (const workload of [...this.#workloads()]) {
      if (this.#ended) return;
      try {
        await workload.verify();
      } catch (err) {
        this.#log.error({ workload: workload.config.name, err }, "not verified");
      }
    }
  }
}
