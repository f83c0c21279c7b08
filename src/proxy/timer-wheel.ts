// SPDX-License-Identifier: Apache-2.0
// Hot: a thread with 100,000 connections has as many timers here.
/**
 * Coarse timers for connections: one interval for all of them, O(1) to set and to clear, a deadline is met late
 * by up to two ticks and never early. A timer further off than one turn of the wheel is passed over once a turn.
 */

/** Set, cleared and set again by its owner; fires once per setting. */
export class WheelTimer {
  /** Milliseconds on the wheel's clock; meaningful while set. */
  deadline = 0;
  /** Neighbours in the slot's ring; undefined while not set. Only the wheel writes them. */
  next: WheelTimer | undefined;
  previous: WheelTimer | undefined;
  readonly fire: () => void;

  constructor(fire: () => void) {
    this.fire = fire;
  }
}

export interface WheelOptions {
  readonly tickMs: number;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** One turn is `slots` ticks. */
  readonly slots?: number;
}

export class TimerWheel implements Disposable {
  readonly #tickMs: number;
  readonly #now: () => number;
  readonly #slots: readonly WheelTimer[];
  #interval: NodeJS.Timeout | undefined;
  #tick: number;
  #size = 0;
  #time: number;

  constructor(options: WheelOptions) {
    this.#tickMs = options.tickMs;
    this.#now = options.now;
    this.#slots = Array.from({ length: options.slots ?? 512 }, emptyRing);
    this.#time = this.#now();
    this.#tick = Math.floor(this.#time / this.#tickMs);
  }

  /** The clock as of the last tick: cheap enough to read for every chunk. Stands still while no timer is set. */
  get time(): number {
    return this.#time;
  }

  get size(): number {
    return this.#size;
  }

  set(timer: WheelTimer, delayMs: number): void {
    if (timer.next) this.#unlink(timer);
    if (this.#size === 0) this.#wake();
    // From the real clock: `time` can be a tick old, and a timer must not be early.
    timer.deadline = this.#now() + delayMs;
    this.#link(timer);
  }

  clear(timer: WheelTimer): void {
    if (!timer.next) return;
    this.#unlink(timer);
    if (this.#size === 0) this.#sleep();
  }

  /** Fires what is due. Called by the interval; tests call it with their own clock. */
  advance(): void {
    this.#time = this.#now();
    const target = Math.floor(this.#time / this.#tickMs);
    // After a stall of more than a turn every slot is visited once, not once a turn.
    this.#tick = Math.max(this.#tick, target - this.#slots.length);
    // Counted up before the visit, so that a timer set by a callback never lands in a slot that is done.
    while (this.#tick < target) this.#visit(this.#slot(++this.#tick));
    if (this.#size === 0) this.#sleep();
  }

  [Symbol.dispose](): void {
    this.#sleep();
  }

  #visit(ring: WheelTimer): void {
    // A callback may clear any other timer or set new ones in this slot, so the ring is emptied first.
    const due: WheelTimer[] = [];
    for (let timer = ring.next; timer && timer !== ring; timer = timer.next) {
      if (timer.deadline <= this.#time) due.push(timer);
    }
    for (const timer of due) {
      // Cleared or set anew by a callback before it.
      if (!timer.next || timer.deadline > this.#time) continue;
      this.#unlink(timer);
      timer.fire();
    }
  }

  #slot(tick: number): WheelTimer {
    return this.#slots[tick % this.#slots.length] as WheelTimer;
  }

  #link(timer: WheelTimer): void {
    // Rounded up, and never the tick that has been visited already.
    const tick = Math.max(Math.ceil(timer.deadline / this.#tickMs), this.#tick + 1);
    const ring = this.#slot(tick);
    const last = ring.previous as WheelTimer;
    timer.previous = last;
    timer.next = ring;
    last.next = timer;
    ring.previous = timer;
    this.#size++;
  }

  #unlink(timer: WheelTimer): void {
    (timer.previous as WheelTimer).next = timer.next;
    (timer.next as WheelTimer).previous = timer.previous;
    timer.next = undefined;
    timer.previous = undefined;
    this.#size--;
  }

  #wake(): void {
    this.#time = this.#now();
    this.#tick = Math.floor(this.#time / this.#tickMs);
    this.#interval ??= setInterval(() => this.advance(), this.#tickMs);
  }

  #sleep(): void {
    clearInterval(this.#interval);
    this.#interval = undefined;
  }
}

function emptyRing(): WheelTimer {
  const ring = new WheelTimer(() => {});
  ring.next = ring;
  ring.previous = ring;
  return ring;
}
