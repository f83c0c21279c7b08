// SPDX-License-Identifier: Apache-2.0

import { fstatSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import type { AccelFlow, AccelReason, AccelSide } from "../bpf/generated/types.ts";
import { TypedMap } from "../bpf/typed-map.ts";
import type { NativeProgram } from "../native/addon.ts";
import { loadAddon } from "../native/load-addon.ts";
import { check } from "../native/status.ts";
import { accelerateLayouts } from "./accelerate-object.ts";
import type { AccelerationSource, FlowPath } from "./acceleration-source.ts";
import { type FlowState, type Question, runAdvance } from "./advance-request.ts";
import { CgroupPolicies } from "./policies/cgroup-policies.ts";
import { POLICY_REASONS } from "./policies/policy.ts";
import { ReaderCheck, type ReaderVerdict } from "./reader/reader-check.ts";
import { isWithdrawn } from "./reader/withdrawn.ts";
import { keyOfEnds, type SocketEnds } from "./socket-ends.ts";

/** The process that reads from a socket, by its inode, and may get redirected bytes. */
export interface SocketReader {
  readonly inode: bigint;
  readonly pid: number;
}

/** The ends of one application's socket in a flow, and how it is asked to get there. */
export interface FlowAsker {
  /**
   * `app` by its own ends: the application's socket, not the proxy's that it talks to. `own`: the proxy's socket
   * that the flow is found by. Without `reader` it comes no further than to "reader-unknown".
   */
  ask(side: AccelSide, app: SocketEnds, own: SocketEnds, flow: bigint, reader?: SocketReader): FlowState;
  /** What keeps a process' bytes from this way although it may read them; undefined where nothing does. */
  policyOn(pid: number): AccelReason | undefined;
  /** The connection is over for this side's proxy. */
  leave(side: AccelSide, flow: bigint): void;
}

/** How long a send may wait for its reader to make room. With one CPU the reader cannot run meanwhile. */
const PATIENCE_NS = availableParallelism() > 1 ? 200_000 : 0;

/** The agent looks as often for what has changed since. */
const CGROUPS_KEPT_MS = 2_000;
const NOBODY: SocketReader = { inode: 0n, pid: 0 };

/** Asks the programs `advance` and `join` on behalf of one workload's connections, inside its namespace. */
export class FlowDriver implements Disposable {
  readonly #source: AccelerationSource;
  /** Ours. */
  readonly #netns: number | undefined;
  /** Of connections of other listeners that go on asking it. */
  readonly #letGo = new Set<() => void>();
  #isDisposed = false;
  #isClosed = false;
  readonly #cookie: bigint;
  readonly #advance: NativeProgram;
  readonly #join: NativeProgram;
  /** From application to application; `own` is the proxy's socket towards the other proxy. */
  readonly direct: FlowAsker;
  /** Between an application and the proxy; `own` is the proxy's socket at the other end. */
  readonly leg: FlowAsker;
  readonly #flows: TypedMap<"accel_flows">;
  readonly #withdrawn: TypedMap<"accel_withdrawn">;
  readonly #readers: ReaderCheck;
  #cgroups: CgroupPolicies | undefined;
  #cgroupsSince = 0;

  /** `netns`: fd of the workload's namespace, the caller's own when absent; stays the caller's. */
  constructor(source: AccelerationSource, netns: number | undefined) {
    this.#source = source;
    this.#netns = netns === undefined ? undefined : check(loadAddon().duplicate(netns), "dup", "network namespace");
    this.#cookie = BigInt(source.netnsCookie);
    this.#advance = check(loadAddon().programFromFd(source.advanceFd), "dup", "program advance");
    this.#join = check(loadAddon().programFromFd(source.joinFd), "dup", "program join");
    if (source.cgroupPolicies !== undefined) this.#cgroups = new CgroupPolicies(source.cgroupPolicies);
    this.direct = this.#asker(this.#advance, (pid) => this.#policyOn(pid));
    this.leg = this.#asker(this.#join, () => undefined);
    const flows = check(loadAddon().mapFromFd(source.flowsFd), "dup", "map accel_flows");
    this.#flows = new TypedMap("accel_flows", flows, accelerateLayouts().flows);
    const withdrawn = check(loadAddon().mapFromFd(source.withdrawnFd), "dup", "map accel_withdrawn");
    this.#withdrawn = new TypedMap("accel_withdrawn", withdrawn, accelerateLayouts().withdrawn);
    const namespace =
      netns === undefined ? statSync("/proc/thread-self/ns/net", { bigint: true }) : fstatSync(netns, { bigint: true });
    this.#readers = new ReaderCheck(namespace.ino, (executable) => isWithdrawn(this.#withdrawn, executable));
  }

  excludes(port: number): boolean {
    return this.#source.excludePorts.includes(port);
  }

  allows(path: FlowPath): boolean {
    return this.#source.paths.includes(path);
  }

  /** Who reads from the application's socket of this answer, and whether that may get redirected bytes. */
  judgeReader({ inode, credentials, opener }: FlowState, servicePort: number): ReaderVerdict {
    return this.#readers.judge({ inode, credentials, opener, servicePort });
  }

  /** The application's socket stays out of the map. */
  refuse(side: AccelSide, flow: bigint, reason: AccelReason): FlowState {
    return this.#run(this.#advance, { action: "refuse", side, flow, reason });
  }

  /** Undefined once its proxies have left. */
  counts(flow: bigint): AccelFlow | undefined {
    return this.#flows.get(flow);
  }

  /** The cookie of its workload's namespace. */
  get namespace(): bigint {
    return this.#cookie;
  }

  /** It stays open until `release`. `letGo`: its workload is no longer there, so that its namespace is to be let go. */
  retain(letGo: () => void): this {
    this.#letGo.add(letGo);
    return this;
  }

  release(letGo: () => void): void {
    this.#letGo.delete(letGo);
    this.#closeUnlessUsed();
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    for (const letGo of this.#letGo) letGo();
    this.#closeUnlessUsed();
  }

  #closeUnlessUsed(): void {
    if (!this.#isDisposed || this.#isClosed || this.#letGo.size > 0) return;
    this.#isClosed = true;
    if (this.#netns !== undefined) loadAddon().closeFd(this.#netns);
    this.#advance.close();
    this.#join.close();
    this.#flows.close();
    this.#withdrawn.close();
  }

  #policyOn(pid: number): AccelReason | undefined {
    if (performance.now() - this.#cgroupsSince > CGROUPS_KEPT_MS) {
      this.#cgroupsSince = performance.now();
      this.#cgroups?.forget();
    }
    return this.#cgroups?.concern(pid) ? POLICY_REASONS["cgroup-skb"] : undefined;
  }

  #asker(program: NativeProgram, policyOn: FlowAsker["policyOn"]): FlowAsker {
    return {
      policyOn,
      ask: (side, app, own, flow, { inode, pid } = NOBODY) => {
        const [appKey, ownKey] = [keyOfEnds(this.#cookie, app), keyOfEnds(this.#cookie, own)];
        return this.#run(program, { action: "advance", side, app: appKey, outer: ownKey, flow, inode, reader: pid });
      },
      leave: (side, flow) => void this.#run(program, { action: "leave", side, flow }),
    };
  }

  #run(program: NativeProgram, question: Question): FlowState {
    return runAdvance(program, { ...question, budget: this.#source.budget, patience: PATIENCE_NS }, this.#netns);
  }
}
