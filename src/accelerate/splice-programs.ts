// SPDX-License-Identifier: Apache-2.0
import { AttachType } from "../bpf/attach-type.ts";
import type { BpfObject } from "../bpf/bpf-object.ts";
import { check } from "../native/status.ts";
import { openSpliceObject } from "./splice-object.ts";
import type { SpliceSource } from "./splice-source.ts";

export interface SplicePolicy {
  /** Cookie of the workload's network namespace. */
  readonly netns: bigint;
  readonly budget: number;
  readonly excludePorts: readonly number[];
}

/** enum splice_right of bpf/include/splice-types.h. */
const ALONE = 1;
const PAIR = 2;

/** The programs that splice while they are loaded; they live as long as this process holds them. */
export class SplicePrograms implements Disposable {
  readonly #object: BpfObject;
  readonly #allowed = new Set<bigint>();
  readonly #restricted = new Set<bigint>();
  #off = true;

  /** Throws a VerifierError or SystemError that says what the kernel refused; nothing is left behind then. */
  constructor() {
    this.#object = openSpliceObject();
    try {
      this.#object.load();
      const sockets = this.#object.nativeMap("splice_socks").fd;
      const attached = this.#object.program("splice").attach(sockets, AttachType.SkSkbStreamVerdict, 0);
      check(attached, "bpf_prog_attach", "splice");
    } catch (error) {
      this.#object.close();
      throw error;
    }
  }

  /** Connections of the namespace that are made from now on may be spliced, unless all is switched off. */
  allow(policy: SplicePolicy): SpliceSource {
    this.#allowed.add(policy.netns);
    this.#write(policy.netns);
    return {
      handOverFd: this.#object.program("hand_over").fd,
      flowsFd: this.#object.nativeMap("splice_flows").fd,
      wakersFd: this.#object.nativeMap("splice_wakers").fd,
      scope: policy.netns.toString(),
      netnsCookie: policy.netns.toString(),
      budget: policy.budget,
      excludePorts: policy.excludePorts,
    };
  }

  /** What comes to connections of the namespace from now on is copied by its proxies, after what was spliced. */
  forbid(netns: bigint): void {
    this.#allowed.delete(netns);
    this.#object.map("splice_scopes").delete(netns);
  }

  /** `forbid` for all namespaces, or its end. */
  switchOff(off: boolean): void {
    this.#off = off;
    for (const netns of this.#allowed) this.#write(netns);
  }

  /** Whether somebody decides about packets of the namespace: they must not go past it to another proxy's socket. */
  restrict(netns: bigint, isRestricted: boolean): void {
    if (isRestricted) this.#restricted.add(netns);
    else this.#restricted.delete(netns);
    if (this.#allowed.has(netns)) this.#write(netns);
  }

  get isSwitchedOff(): boolean {
    return this.#off;
  }

  #write(netns: bigint): void {
    const scopes = this.#object.map("splice_scopes");
    if (this.#off) scopes.delete(netns);
    else scopes.set(netns, this.#restricted.has(netns) ? ALONE : ALONE | PAIR);
  }

  [Symbol.dispose](): void {
    const sockets = this.#object.nativeMap("splice_socks").fd;
    this.#object.program("splice").detach(sockets, AttachType.SkSkbStreamVerdict);
    this.#object.close();
  }
}
