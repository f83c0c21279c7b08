// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { type BehaviourName, behaviours, type Need } from "../../../../src/accelerate/contract/behaviours.ts";
import {
  accelerationOf,
  type BehaviourVerdicts,
  obstaclesOf,
  VERDICTS,
  type Verdict,
  wantsStreamVerdict,
} from "../../../../src/accelerate/contract/verdict.ts";

/** All ok but those named. */
function verdicts(others: Partial<Record<BehaviourName, Verdict>> = {}): BehaviourVerdicts {
  return Object.fromEntries(
    behaviours.map(({ name }) => [name, { verdict: others[name] ?? "ok", detail: "" }]),
  ) as BehaviourVerdicts;
}

/** What one broken behaviour leaves; written out, so that a changed need is a change here as well. */
const broken: Readonly<Record<BehaviourName, string>> = {
  "byte-order": "off",
  "byte-order-deferred-accept": "off",
  "half-read": "off",
  overlap: "off",
  "eof-plain": "off",
  "close-after-write": "off",
  "half-close": "off",
  reset: "off",
  backpressure: "off",
  poll: "off",
  "epoll-level": "off",
  "epoll-edge": "off",
  "crash-undelivered": "off",
  "fionread-plain": "splice-only",
  sendfile: "splice-only",
  "splice-in": "splice-only",
  "mptcp-refused": "splice-only",
  "fionread-redirected": "asymmetric",
  "msg-peek": "asymmetric",
  "blocking-read-half-close": "on",
  "blocking-read-other-sender": "on",
  "blocking-read-signal": "on",
  "splice-out": "on",
  rcvlowat: "on",
  waitall: "on",
  oob: "on",
  "zero-copy": "on",
  "delete-undelivered": "on",
};

describe("accelerationOf", () => {
  it("is on where everything is ok", () => {
    expect(accelerationOf(verdicts())).toBe("on");
    expect(obstaclesOf(verdicts())).toEqual([]);
  });

  it.each(Object.entries(broken) as [BehaviourName, string][])("with %s alone broken is %s", (name, acceleration) => {
    const found = verdicts({ [name]: "broken" });
    expect(accelerationOf(found)).toBe(acceleration);
    expect(obstaclesOf(found)).toEqual(acceleration === "on" ? [] : [name]);
  });

  it.each(VERDICTS)("takes %s for ok or for broken, in every behaviour", (verdict) => {
    const same = verdict === "untested" ? "broken" : verdict === "worked-around" ? "ok" : verdict;
    for (const { name } of behaviours) {
      expect(accelerationOf(verdicts({ [name]: verdict })), name).toBe(accelerationOf(verdicts({ [name]: same })));
    }
  });

  it("is the least of what several broken behaviours leave", () => {
    expect(accelerationOf(verdicts({ "msg-peek": "broken", sendfile: "broken" }))).toBe("splice-only");
    expect(accelerationOf(verdicts({ "msg-peek": "broken", reset: "untested" }))).toBe("off");
    expect(accelerationOf(verdicts({ rcvlowat: "broken", "fionread-redirected": "broken" }))).toBe("asymmetric");
  });

  it("is off where nothing was tried, and names what was needed", () => {
    const untried = verdicts(Object.fromEntries(behaviours.map(({ name }) => [name, "untested"])));
    expect(accelerationOf(untried)).toBe("off");
    const needs: readonly Need[] = ["any", "application", "receiver"];
    expect(obstaclesOf(untried)).toEqual(behaviours.filter(({ need }) => needs.includes(need)).map(({ name }) => name));
  });
});

describe("wantsStreamVerdict", () => {
  it("is so only where FIONREAD is right with it and wrong without", () => {
    expect(VERDICTS.filter((verdict) => wantsStreamVerdict(verdicts({ "fionread-plain": verdict })))).toEqual([
      "worked-around",
    ]);
  });
});
