// SPDX-License-Identifier: Apache-2.0
import type { FlowDriver } from "../../accelerate/flow-driver.ts";
import type { CarriedPast } from "../../proxy/acceleration.ts";
import type { DirectFlow, DrivenFlow } from "./driven-flow.ts";

/** A connection with one proxy, which asks for the sockets of both applications. */
export class BothEnds implements DirectFlow {
  readonly #own: DrivenFlow;
  readonly #other: DrivenFlow;
  readonly #othersDriver: FlowDriver;
  #isOver = false;

  /** `othersDriver`: the one that `other` asks, disposed of when the connection is over. */
  constructor(own: DrivenFlow, other: DrivenFlow, othersDriver: FlowDriver) {
    this.#own = own;
    this.#other = other;
    this.#othersDriver = othersDriver;
  }

  /** Each can be put into the map once the other one may be. */
  advance(): void {
    this.#own.advance();
    this.#other.advance();
    if (!this.#own.wasEnrolled && this.#other.wasEnrolled) this.#own.hurry();
  }

  get wasEnrolled(): boolean {
    return this.#own.wasEnrolled;
  }

  get isHopeless(): boolean {
    return this.#own.isHopeless || (this.#other.isHopeless && !this.#own.wasEnrolled);
  }

  carried(): CarriedPast {
    return this.#own.carried();
  }

  hasUnread(): boolean {
    return this.#own.hasUnread();
  }

  othersHasUnread(): boolean {
    return this.#other.hasUnread();
  }

  reason(): string {
    const reason = this.#own.reason();
    return reason === "none" || reason === "peer-unknown" ? this.#other.reason() : reason;
  }

  leave(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#own.leave();
    this.#other.leave();
    this.#othersDriver[Symbol.dispose]();
  }
}
