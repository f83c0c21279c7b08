// SPDX-License-Identifier: Apache-2.0
import type { FlowDriver } from "../../accelerate/flow-driver.ts";
import type { CarriedPast } from "../../proxy/acceleration.ts";
import type { DirectFlow, DrivenFlow } from "./driven-flow.ts";

/** How often it is looked whether the application of a workload that is gone has read. */
const LOOK_MS = 500;

/** A connection with one proxy, which asks for the sockets of both applications. */
export class BothEnds implements DirectFlow {
  readonly #own: DrivenFlow;
  readonly #other: DrivenFlow;
  readonly #othersDriver: FlowDriver;
  #isOver = false;
  /** The other workload is no longer there, nor anything that was redirected to its application. */
  #isAlone = false;
  #looking: NodeJS.Timeout | undefined;

  /** `othersDriver`: the one that `other` asks. */
  constructor(own: DrivenFlow, other: DrivenFlow, othersDriver: FlowDriver) {
    this.#own = own;
    this.#other = other;
    this.#othersDriver = othersDriver.retain(this.#letGo);
  }

  /** Each can be put into the map once the other one may be. */
  advance(): void {
    if (this.#isAlone) return;
    this.#own.advance();
    this.#other.advance();
    if (!this.#own.wasEnrolled && this.#other.wasEnrolled) this.#own.hurry();
  }

  get wasEnrolled(): boolean {
    return this.#own.wasEnrolled;
  }

  get isHopeless(): boolean {
    return this.#own.isHopeless || (!this.#own.wasEnrolled && (this.#isAlone || this.#other.isHopeless));
  }

  carried(): CarriedPast {
    return this.#own.carried();
  }

  hasUnread(): boolean {
    return this.#own.hasUnread();
  }

  othersHasUnread(): boolean {
    return !this.#isAlone && this.#other.hasUnread();
  }

  reason(): string {
    const reason = this.#own.reason();
    return reason === "none" || reason === "peer-unknown" ? this.#other.reason() : reason;
  }

  leave(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#looking);
    try {
      this.#own.leave();
      if (!this.#isAlone) this.#other.leave();
    } finally {
      this.#othersDriver.release(this.#letGo);
    }
  }

  /**
   * The other workload is gone from the configuration, and its namespace may be going: from now on bytes go by TCP, and
   * what was redirected before is waited for, if anybody is there to read it.
   */
  readonly #letGo = (): void => {
    if (this.#looking === undefined) this.#other.close();
    if (this.#isOver) return;
    if (this.#other.hasUnread()) {
      this.#looking = setTimeout(this.#letGo, LOOK_MS);
      this.#looking.unref();
      return;
    }
    this.#isAlone = true;
    this.#other.leave();
    this.#othersDriver.release(this.#letGo);
  };
}
