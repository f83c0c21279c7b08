// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { planConnect, wouldLoop } from "../../../src/proxy/connect-plan.ts";

const client4 = { address: "10.0.0.1", port: 40000 };
const server4 = { address: "10.0.0.2", port: 80 };
const client6 = { address: "fd00::1", port: 40000 };
const server6 = { address: "fd00::2", port: 80 };
const note = () => ({ [Symbol.dispose]: () => {} });

describe("planConnect", () => {
  it("leaves the source to the kernel for outbound connections", () => {
    const plan = planConnect({ source: { kind: "local" }, noteOwnFlow: note }, client4, server4);
    expect(plan).toEqual({ ...server4, source: undefined, beforeConnect: undefined });
  });

  it.each([
    ["127.0.0.6", client4, server4],
    ["::6", client6, server6],
  ])("connects from %s in pass-through", (address, client, server) => {
    expect(planConnect({ source: { kind: "passthrough" } }, client, server).source).toEqual({
      address,
      transparent: false,
    });
  });

  it("takes the client's address to preserve it, and notes the flow before the SYN", () => {
    const plan = planConnect({ source: { kind: "preserve" }, noteOwnFlow: note }, client6, server6);
    expect(plan.source).toEqual({ address: "fd00::1", transparent: true });
    expect(plan.beforeConnect).toBe(note);
  });

  it("does not preserve the address of a client that calls itself", () => {
    const plan = planConnect({ source: { kind: "preserve" }, noteOwnFlow: note }, { ...server4, port: 9 }, server4);
    expect(plan.source).toEqual({ address: "127.0.0.6", transparent: false });
    expect(plan.beforeConnect).toBeUndefined();
  });
});

describe("wouldLoop", () => {
  const local = { address: "127.0.0.1", port: 15001 };
  const remote = { address: "10.0.0.1", port: 40000 };

  it.each(["127.0.0.1", "127.3.2.1", "::1", "10.0.0.1"])(
    "holds for our port at %s, an address of this namespace",
    (address) => {
      expect(wouldLoop([15001, 15006], { address, port: 15006 }, local, remote)).toBe(true);
    },
  );

  it("does not hold for our port number at another host, nor for another port at ours", () => {
    expect(wouldLoop([15001], { address: "10.9.9.9", port: 15001 }, local, remote)).toBe(false);
    expect(wouldLoop([15001], { address: "127.0.0.1", port: 8080 }, local, remote)).toBe(false);
  });
});
