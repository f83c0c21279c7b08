// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { TimerWheel, WheelTimer } from "../../../src/proxy/timer-wheel.ts";

const TICK = 10;

function wheelAt(start = 1_000_000) {
  const clock = { now: start };
  const wheel = new TimerWheel({ tickMs: TICK, slots: 8, now: () => clock.now });
  const walk = (ms: number, stepMs = 1): void => {
    for (const end = clock.now + ms; clock.now < end; ) {
      clock.now = Math.min(end, clock.now + stepMs);
      wheel.advance();
    }
  };
  return { clock, wheel, walk };
}

describe("TimerWheel", () => {
  afterEach(() => vi.useRealTimers());

  it("fires once, not early and at most two ticks late, however far off the deadline is", () => {
    fc.assert(
      fc.property(fc.nat(2_000), fc.nat(99), fc.integer({ min: 1, max: 35 }), (delay, offset, stepMs) => {
        const { clock, wheel, walk } = wheelAt(5_000 + offset);
        const fired: number[] = [];
        const start = clock.now;
        wheel.set(new WheelTimer(() => fired.push(clock.now - start)), delay);
        walk(delay + 2 * TICK + 2 * stepMs, stepMs);
        expect(fired).toHaveLength(1);
        expect(fired[0]).toBeGreaterThanOrEqual(delay);
        expect(fired[0]).toBeLessThanOrEqual(delay + 2 * TICK + stepMs);
        expect(wheel.size).toBe(0);
        wheel[Symbol.dispose]();
      }),
    );
  });

  it("does not fire what was cleared, and fires what was set again at the later deadline only", () => {
    const { clock, wheel, walk } = wheelAt();
    const fired: [string, number][] = [];
    const start = clock.now;
    const cleared = new WheelTimer(() => fired.push(["cleared", clock.now - start]));
    const moved = new WheelTimer(() => fired.push(["moved", clock.now - start]));
    wheel.set(cleared, 50);
    wheel.set(moved, 50);
    walk(20);
    wheel.clear(cleared);
    wheel.clear(cleared);
    wheel.set(moved, 100);
    walk(300);
    expect(fired).toEqual([["moved", 120]]);
    wheel[Symbol.dispose]();
  });

  it("lets a callback set its own timer again and clear one that is due with it", () => {
    const { wheel, walk } = wheelAt();
    let repeats = 0;
    const victim = new WheelTimer(() => expect.unreachable("cleared before its turn"));
    const repeated: WheelTimer = new WheelTimer(() => {
      wheel.clear(victim);
      if (++repeats < 3) wheel.set(repeated, 0);
    });
    wheel.set(repeated, 30);
    wheel.set(victim, 30);
    walk(200);
    expect(repeats).toBe(3);
    expect(wheel.size).toBe(0);
    wheel[Symbol.dispose]();
  });

  it("fires everything that is due after the thread was stalled for many turns", () => {
    const { clock, wheel } = wheelAt();
    let fired = 0;
    for (let delay = 0; delay < 1_000; delay += 7) wheel.set(new WheelTimer(() => fired++), delay);
    const all = wheel.size;
    clock.now += 10_000;
    wheel.advance();
    expect(fired).toBe(all);
    wheel[Symbol.dispose]();
  });

  it("keeps an interval only while a timer is set", () => {
    vi.useFakeTimers();
    const wheel = new TimerWheel({ tickMs: TICK, now: () => performance.now() });
    expect(vi.getTimerCount()).toBe(0);
    let fired = 0;
    wheel.set(new WheelTimer(() => fired++), 25);
    expect(vi.getTimerCount()).toBe(1);
    vi.advanceTimersByTime(100);
    expect(fired).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });
});
