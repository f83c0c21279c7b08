// SPDX-License-Identifier: Apache-2.0
/** Every check of the contract can fail, and does not where nothing is wrong. */
import { afterAll, describe, expect, it } from "vitest";
import { type BehaviourName, behaviours } from "../../../src/accelerate/contract/behaviours.ts";
import { ContractBed } from "../../support/contract-bed.ts";

/** `fault`: of shunt-contract, on plain TCP; `program`: what sk_msg does, on this kernel; `accepts`: see the test. */
type Proof =
  | { readonly fault: string; readonly says: RegExp }
  | { readonly program: "naive"; readonly says: RegExp }
  | { readonly accepts: "tcp"; readonly says: RegExp };

const proofs: Readonly<Record<BehaviourName, readonly Proof[]>> = {
  "byte-order": [{ fault: "reorder", says: /byte 0 is not the one that was sent/ }],
  "byte-order-deferred-accept": [
    { program: "naive", says: /byte 0 is not the one that was sent/ },
    { fault: "reorder", says: /byte 0 is not the one that was sent/ },
  ],
  "half-read": [
    { program: "naive", says: /is not the one that was sent|more came/ },
    { fault: "lose", says: /bytes came|is not the one/ },
  ],
  overlap: [
    { program: "naive", says: /is not the one that was sent|more came/ },
    { fault: "reorder", says: /is not the one that was sent/ },
  ],
  "eof-plain": [{ fault: "swallow-eof", says: /after the last byte came nothing more/ }],
  "close-after-write": [
    { fault: "lose", says: /is not the one that was sent|bytes came/ },
    { fault: "swallow-eof", says: /after the last byte came nothing more/ },
  ],
  "half-close": [{ fault: "swallow-eof", says: /after the last byte came nothing more/ }],
  reset: [{ fault: "false-eof", says: /the end of the stream, not Connection reset by peer/ }],
  backpressure: [
    { program: "naive", says: /bytes went to a reader that does not read/ },
    { fault: "silent", says: /the sender is not told/ },
  ],
  poll: [{ fault: "deaf", says: /poll woke nobody/ }],
  "epoll-level": [{ fault: "deaf", says: /nobody was woken/ }],
  "epoll-edge": [{ fault: "deaf", says: /nobody was woken/ }],
  "crash-undelivered": [{ fault: "lose", says: /bytes came|is not the one/ }],
  "fionread-plain": [{ fault: "fionread", says: /FIONREAD says 0 of 1100/ }],
  sendfile: [{ fault: "reorder", says: /byte 0 is not the one that was sent/ }],
  "splice-in": [{ fault: "reorder", says: /byte 0 is not the one that was sent/ }],
  "mptcp-refused": [{ accepts: "tcp", says: /the map took 2 sockets/ }],
  "fionread-redirected": [{ fault: "fionread", says: /FIONREAD says 0 of 1100/ }],
  "msg-peek": [{ fault: "peek", says: /MSG_PEEK/ }],
  "blocking-read-half-close": [{ fault: "eagain", says: /Resource temporarily unavailable/ }],
  "blocking-read-other-sender": [{ fault: "eagain", says: /Resource temporarily unavailable/ }],
  "blocking-read-signal": [{ fault: "eagain", says: /not EINTR/ }],
  "splice-out": [{ fault: "eagain", says: /poll says readable, splice to a pipe says/ }],
  rcvlowat: [{ fault: "early", says: /readable with 10 of the 1100/ }],
  waitall: [{ fault: "early", says: /returned 10 of 10/ }],
  oob: [{ fault: "inline", says: /urgent/ }],
  "zero-copy": [{ fault: "silent", says: /the completion .* never comes/ }],
  "delete-undelivered": [{ fault: "lose", says: /bytes came|is not the one/ }],
};

const names = behaviours.map(({ name }) => name);
const proofsOf = (wanted: (proof: Proof) => string | undefined): [BehaviourName, string, RegExp][] =>
  names.flatMap((name) =>
    proofs[name].flatMap((proof): [BehaviourName, string, RegExp][] => {
      const how = wanted(proof);
      return how === undefined ? [] : [[name, how, proof.says]];
    }),
  );

const bed = new ContractBed();
afterAll(() => bed[Symbol.asyncDispose]());

/** Why the programs can't be attached here. */
const refusal = await bed.programmed(["byte-order"]).then(
  () => undefined,
  (error: Error) => error.message,
);

describe("every check", () => {
  it("has a proof that it can fail", () => {
    expect(names.filter((name) => proofs[name].length === 0)).toEqual([]);
  });

  it("passes on sockets that are in no map", async () => {
    // There is nothing to refuse.
    const without = names.filter((name) => name !== "mptcp-refused");
    const results = await bed.plain(without);
    expect(
      without.filter((name) => results.get(name)?.result !== "ok").map((name) => [name, results.get(name)]),
    ).toEqual([]);
  });
});

it("a check that does not exist is no verdict on the kernel", async () => {
  const unknown = "byte-disorder" as BehaviourName;
  await expect(bed.plain([unknown])).rejects.toThrow(/status 2: shunt-contract: CHECK byte-disorder: is not known/);
});

it.each(proofsOf((proof) => ("fault" in proof ? proof.fault : undefined)))(
  "%s fails where there is the fault %s",
  async (name, fault, says) => {
    const found = (await bed.plain([name], fault)).get(name);
    expect(found?.result).toBe("broken");
    expect(found?.detail).toMatch(says);
  },
);

describe(`under programs${refusal === undefined ? "" : `, which this kernel refuses: ${refusal}`}`, () => {
  it.skipIf(refusal !== undefined).each(proofsOf((proof) => ("program" in proof ? proof.program : undefined)))(
    "%s fails with %s redirection",
    async (name, program, says) => {
      const found = (await bed.programmed([name], ["--steering", program], true)).get(name);
      expect(found?.result).toBe("broken");
      expect(found?.detail).toMatch(says);
    },
  );

  it.skipIf(refusal !== undefined).each(proofsOf((proof) => ("accepts" in proof ? proof.accepts : undefined)))(
    "%s fails where the sockets are of %s",
    async (name, fault, says) => {
      const found = (await bed.programmed([name], ["--fault", fault])).get(name);
      expect(found?.result).toBe("broken");
      expect(found?.detail).toMatch(says);
    },
  );
});
