// SPDX-License-Identifier: Apache-2.0
import { closeSync, openSync } from "node:fs";
import { AttachType } from "../bpf/attach-type.ts";
import type { BpfObject } from "../bpf/bpf-object.ts";
import {
  type AccelEnd,
  type AccelFlow,
  type AccelPermission,
  type AccelReason,
  accelPermissions,
  accelSides,
} from "../bpf/generated/types.ts";
import type { MapPool } from "../bpf/map-pool.ts";
import type { NativeLink } from "../native/addon.ts";
import { check } from "../native/status.ts";
import { loadAccelerateObject, openLegObject } from "./accelerate-object.ts";
import type { AccelerationSource, FlowPath } from "./acceleration-source.ts";
import { runAdvance } from "./advance-request.ts";
import { ReaderWatch, type WithdrawnProgram } from "./reader/reader-watch.ts";

export interface NamespacePolicy {
  /** Of the network namespace. */
  readonly cookie: bigint;
  readonly budget: number;
  readonly excludePorts: readonly number[];
  readonly paths: readonly FlowPath[];
  /** Applications receive by TCP. */
  readonly asymmetric: boolean;
  /** See AccelerationSource. */
  readonly cgroupPolicies: string | undefined;
}

/** Why bytes may not go past TCP from application to application, because packets do not go unasked; "none" where they do. */
export interface PolicyHindrances {
  readonly inside: AccelReason;
  readonly across: AccelReason;
}

/** What keeps bytes from each way, whatever a workload is allowed; "none" where nothing does. */
export type Hindrances = Readonly<Record<AccelPermission, AccelReason>>;

const PATH_OF: Readonly<Record<AccelPermission, FlowPath>> = {
  "direct-inside": "direct",
  "direct-across": "direct",
  leg: "leg",
  "leg-back": "leg",
};

/**
 * The programs of acceleration while they are loaded. They live as long as this process holds them: connections
 * that they serve go through its proxies and end with it.
 */
export class AccelerationPrograms implements Disposable {
  readonly #object: BpfObject;
  readonly #leg: BpfObject;
  readonly #maps: MapPool;
  readonly #watch: ReaderWatch;
  readonly #link: NativeLink;
  readonly #allowed = new Map<bigint, NamespacePolicy>();
  readonly #restricted = new Map<bigint, PolicyHindrances>();
  #hasStreamVerdict = false;
  /** Undefined while all is switched off. */
  #hindrances: Hindrances | undefined;

  /**
   * Loaded and switched off. Sockets of processes below `cgroupRoot`, a directory of the cgroup2 tree, are noted when
   * they are connected. Throws a VerifierError or SystemError that says what the kernel refused; nothing is left behind
   * then.
   */
  constructor(cgroupRoot: string) {
    ({ object: this.#object, maps: this.#maps } = loadAccelerateObject());
    this.#leg = openLegObject();
    try {
      this.#leg.load({ pool: this.#maps });
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
      this.#leg.close();
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
    this.#allowed.set(policy.cookie, policy);
    this.#write(policy);
    return {
      advanceFd: this.#object.program("advance").fd,
      joinFd: this.#leg.program("join").fd,
      flowsFd: this.#object.nativeMap("accel_flows").fd,
      withdrawnFd: this.#object.nativeMap("accel_withdrawn").fd,
      netnsCookie: policy.cookie.toString(),
      budget: policy.budget,
      excludePorts: policy.excludePorts,
      paths: policy.paths,
      cgroupPolicies: policy.cgroupPolicies,
    };
  }

  /** From its next message on each connection of the namespace goes by TCP, and stays there. */
  forbid(cookie: bigint): void {
    this.#allowed.delete(cookie);
    this.#restricted.delete(cookie);
    this.#object.map("accel_netns").delete(cookie);
  }

  /**
   * What may be from now on: connections that go a way that is forbidden by it go by TCP from their next message on,
   * and stay there. Undefined is `forbid` for all namespaces.
   */
  permit(hindrances: Hindrances | undefined): void {
    this.#hindrances = hindrances;
    for (const policy of this.#allowed.values()) this.#write(policy);
  }

  /** What packets of a namespace meet. Connections that go past it by now go by TCP from their next message on. */
  restrict(cookie: bigint, hindrances: PolicyHindrances): void {
    this.#restricted.set(cookie, hindrances);
    const policy = this.#allowed.get(cookie);
    if (policy) this.#write(policy);
  }

  /** Ends the direct way of sockets, in both directions; `why` answers undefined for those that may go on. */
  withdrawDirect(why: (end: AccelEnd) => AccelReason | undefined): void {
    const advance = this.#object.program("advance");
    for (const [flow, { ends }] of this.flows()) {
      for (const [index, end] of ends.entries()) {
        const side = accelSides[index];
        if (side === undefined || end.state !== "enrolled" || PATH_OF[end.permission] !== "direct") continue;
        const reason = why(end);
        if (reason === undefined) continue;
        runAdvance(advance, { action: "refuse", side, flow, reason });
      }
    }
  }

  get isSwitchedOff(): boolean {
    return this.#hindrances === undefined;
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
    this.permit(undefined);
    this.#link.detach();
    this.#link.close();
    const sockets = this.#object.nativeMap("accel_socks").fd;
    if (this.#hasStreamVerdict) this.#object.program("pass_stream").detach(sockets, AttachType.SkSkbStreamVerdict);
    this.#object.program("steer").detach(sockets, AttachType.SkMsgVerdict);
    this.#watch[Symbol.dispose]();
    this.#object.close();
    this.#leg.close();
    this.#maps.close();
  }

  #write({ cookie, paths, asymmetric }: NamespacePolicy): void {
    const rights = this.#object.map("accel_netns");
    const kernels = this.#hindrances;
    if (kernels === undefined) {
      rights.delete(cookie);
      return;
    }
    const hindranceTo = (permission: AccelPermission): AccelReason => {
      if (!paths.includes(PATH_OF[permission])) return "path-excluded";
      if (asymmetric && permission !== "leg") return "contract";
      const policies = this.#restricted.get(cookie);
      const met = policies && policyFor(permission, policies);
      return kernels[permission] === "none" ? (met ?? "none") : kernels[permission];
    };
    rights.set(cookie, { hindrances: accelPermissions.map(hindranceTo) });
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

function policyFor(permission: AccelPermission, { inside, across }: PolicyHindrances): AccelReason | undefined {
  if (permission === "direct-inside") return inside;
  return permission === "direct-across" ? across : undefined;
}
