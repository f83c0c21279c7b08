// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import type { Interception } from "../../../src/intercept/backend.ts";
import { CompositeInterception } from "../../../src/intercept/composite.ts";
import type { InterceptSpec } from "../../../src/intercept/spec.ts";

/** Remembers what it was told; fails for a spec with that name. */
class Half implements Interception {
  readonly backend = "ebpf";
  readonly log: string[] = [];
  readonly #refused: string;

  constructor(refused: string) {
    this.#refused = refused;
  }

  originalDestination(): { readonly kind: "conntrack" } {
    return { kind: "conntrack" };
  }

  ownFlows(): undefined {
    return undefined;
  }

  setInboundListener(): void {}
  setLocalAddresses(): void {}

  async update({ name }: InterceptSpec): Promise<void> {
    if (name === this.#refused) throw new Error(`${name} refused`);
    this.log.push(name);
  }

  counters(): undefined {
    return undefined;
  }

  async remove(): Promise<void> {
    this.log.push("removed");
    if (this.#refused === "remove") throw new Error("remove refused");
  }

  [Symbol.dispose](): void {}
}

function spec(name: string): InterceptSpec {
  const target = { kind: "netns", path: "/run/netns/x" } as const;
  return {
    name,
    target,
    proxy: { uids: [], gids: [], external: false },
    interfaces: { exclude: [], reroute: [] },
    dropInvalid: false,
    failMode: "deny",
    trace: false,
  };
}

it("of two back-ends, the outbound one goes back to the last policy that both had when the inbound one refuses", async () => {
  const outbound = new Half("");
  const inbound = new Half("third");
  const composite = new CompositeInterception(outbound, inbound, spec("first"));
  await composite.update(spec("second"));
  await expect(composite.update(spec("third"))).rejects.toThrow("third refused");
  expect(outbound.log).toEqual(["second", "third", "second"]);
  expect(inbound.log).toEqual(["second"]);
});

it("of two back-ends, the second is removed when the first refuses", async () => {
  const outbound = new Half("remove");
  const inbound = new Half("");
  const composite = new CompositeInterception(outbound, inbound, spec("first"));
  await expect(composite.remove()).rejects.toThrow("remove refused");
  expect(inbound.log).toEqual(["removed"]);
});
