// SPDX-License-Identifier: Apache-2.0
import { closeSync, openSync } from "node:fs";
import { AttachType } from "../bpf/attach-type.ts";
import type { BpfObject } from "../bpf/bpf-object.ts";
import { type AccelFlow, accelSides } from "../bpf/generated/types.ts";
import { MapPool } from "../bpf/map-pool.ts";
import type { NativeLink } from "../native/addon.ts";
import { check } from "../native/status.ts";
import { openAccelerateObject } from "./accelerate-object.ts";
import type { AccelerationSource } from "./acceleration-source.ts";
import { runAdvance } from "./advance-request.ts";
import { ReaderWatch, type WithdrawnProgram } from "./reader/reader-watch.ts";

export interface NamespacePolicy {
  /** Of the network namespace. */
  readonly cookie: bigint;
  readonly budget: number;
  readonly excludePorts: readonly number[];
}

/**
 * The programs of acceleration while they are loaded. They live as long as this process holds them: connections
 * that they serve go through its proxies and end with it.
 */
export class AccelerationPrograms implements Disposable {
  readonly #object: BpfObject;
  readonly #maps = new MapPool();
  readonly #watch: ReaderWatch;
  readonly #link: NativeLink;
  readonly #allowed = new Set<bigint>();
  #hasStreamVerdict = false;
  #off = true;

  /**
   * Loaded and switched off. Sockets of processes below `cgroupRoot`, a directory of the cgroup2 tree, are noted when
   * they are connected. Throws a VerifierError or SystemError that says what the kernel refused; nothing is left behind
   * then.
   */
  constructor(cgroupRoot: string) {
    this.#object = openAccelerateObject();
    try {
      this.#object.load({ pool: this.#maps });
      this.#watch = new ReaderWatch(this.#maps);
      this.#attach("steer", AttachType.SkMsgVerdict);
      const directory = openSync(cgroupRoot, "r");
      try {
        const link = this.#object.program("note_start").link(directory, AttachType.CgroupSockOps);
        this.#link = check(link, "bpf_link_create", `note_start at ${cgroupRoot}`);
      } finally {
        closeSync(directory);
      }
    } catch (error) {
      this.#object.close();
      this.#maps.close();
      throw error;
    }
  }

  /** For kernels that need it; while no socket is in the map. See `pass_stream` in bpf/accelerate.bpf.c. */
  attachStreamVerdict(): void {
    if (this.#hasStreamVerdict) return;
    this.#attach("pass_stream", AttachType.SkSkbStreamVerdict);
    this.#hasStreamVerdict = true;
  }

  /** Connections of the namespace that are made from now on may be accelerated, unless all is switched off. */
  allow(policy: NamespacePolicy): AccelerationSource {
    this.#allowed.add(policy.cookie);
    if (!this.#off) this.#object.map("accel_netns").set(policy.cookie, 1);
    return {
      advanceFd: this.#object.program("advance").fd,
      flowsFd: this.#object.nativeMap("accel_flows").fd,
      withdrawnFd: this.#object.nativeMap("accel_withdrawn").fd,
      netnsCookie: policy.cookie.toString(),
      budget: policy.budget,
      excludePorts: policy.excludePorts,
    };
  }

  /** From its next message on each connection of the namespace goes by TCP, and stays there. */
  forbid(cookie: bigint): void {
    this.#allowed.delete(cookie);
    this.#object.map("accel_netns").delete(cookie);
  }

  /** `forbid` for all namespaces; what is made after it is switched on again is accelerated. */
  switchOff(off: boolean): void {
    this.#off = off;
    const allowed = this.#object.map("accel_netns");
    for (const cookie of this.#allowed) {
      if (off) allowed.delete(cookie);
      else allowed.set(cookie, 1);
    }
  }

  get isSwitchedOff(): boolean {
    return this.#off;
  }

  /** Every flow that a proxy has not left yet. */
  *flows(): IterableIterator<readonly [id: bigint, flow: AccelFlow]> {
    yield* this.#object.map("accel_flows").entries();
  }

  /**
   * Once in a second: programs that have turned out to leave redirected bytes unread while they run. Nothing is
   * redirected to them any more.
   */
  watchReaders(): readonly WithdrawnProgram[] {
    const found = this.#watch.look();
    if (found.length > 0) this.#refuseWithdrawn();
    return found;
  }

  [Symbol.dispose](): void {
    this.switchOff(true);
    this.#link.detach();
    this.#link.close();
    const sockets = this.#object.nativeMap("accel_socks").fd;
    if (this.#hasStreamVerdict) this.#object.program("pass_stream").detach(sockets, AttachType.SkSkbStreamVerdict);
    this.#object.program("steer").detach(sockets, AttachType.SkMsgVerdict);
    this.#watch[Symbol.dispose]();
    this.#object.close();
    this.#maps.close();
  }

  #refuseWithdrawn(): void {
    const advance = this.#object.program("advance");
    for (const [flow, { ends }] of this.flows()) {
      const sides = accelSides.filter((_, index) => this.#watch.isWithdrawn(ends[index]?.reader ?? 0));
      for (const side of sides) runAdvance(advance, { action: "refuse", side, flow, reason: "withdrawn" });
    }
  }

  #attach(program: string, type: number): void {
    const sockets = this.#object.nativeMap("accel_socks").fd;
    check(this.#object.program(program).attach(sockets, type, 0), "bpf_prog_attach", program);
  }
}
