// SPDX-License-Identifier: Apache-2.0

import { fstatSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import type { AccelFlow, AccelReason, AccelSide, SocketKey } from "../bpf/generated/types.ts";
import { TypedMap } from "../bpf/typed-map.ts";
import type { NativeProgram, SocketAddress } from "../native/addon.ts";
import { loadAddon } from "../native/load-addon.ts";
import { check } from "../native/status.ts";
import { accelerateLayouts } from "./accelerate-object.ts";
import type { AccelerationSource } from "./acceleration-source.ts";
import { type FlowState, type Question, runAdvance } from "./advance-request.ts";
import { ReaderCheck, type ReaderVerdict } from "./reader/reader-check.ts";
import { isWithdrawn } from "./reader/withdrawn.ts";

/** A socket by its two ends, as its owner sees them. */
export interface SocketEnds {
  readonly local: SocketAddress;
  readonly remote: SocketAddress;
}

/** The process that reads from a socket, by its inode, and may get redirected bytes. */
export interface SocketReader {
  readonly inode: bigint;
  readonly pid: number;
}

const AF_INET = 2;
const AF_INET6 = 10;

/** How long a send may wait for its reader to make room. With one CPU the reader cannot run meanwhile. */
const PATIENCE_NS = availableParallelism() > 1 ? 200_000 : 0;

/** Asks the program `advance` on behalf of one workload's connections, inside its namespace. */
export class FlowDriver implements Disposable {
  readonly #source: AccelerationSource;
  readonly #netns: number | undefined;
  readonly #cookie: bigint;
  readonly #program: NativeProgram;
  readonly #flows: TypedMap<"accel_flows">;
  readonly #withdrawn: TypedMap<"accel_withdrawn">;
  readonly #readers: ReaderCheck;

  /** `netns`: fd of the workload's namespace, the caller's own when absent; stays the caller's. */
  constructor(source: AccelerationSource, netns: number | undefined) {
    this.#source = source;
    this.#netns = netns;
    this.#cookie = BigInt(source.netnsCookie);
    this.#program = check(loadAddon().programFromFd(source.advanceFd), "dup", "program advance");
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

  /**
   * `app` and `outer` by their own ends: `app` is the application's socket, not the proxy's that it talks to. Without
   * `reader` it comes no further than to "reader-unknown".
   */
  advance(side: AccelSide, app: SocketEnds, outer: SocketEnds, flow: bigint, reader?: SocketReader): FlowState {
    const { inode = 0n, pid = 0 } = reader ?? {};
    return this.#run({
      action: "advance",
      side,
      app: this.#keyOf(app),
      outer: this.#keyOf(outer),
      flow,
      inode,
      reader: pid,
    });
  }

  /** Who reads from the application's socket of this answer, and whether that may get redirected bytes. */
  judgeReader({ inode, credentials, opener }: FlowState, servicePort: number): ReaderVerdict {
    return this.#readers.judge({ inode, credentials, opener, servicePort });
  }

  /** The application's socket stays out of the map. */
  refuse(side: AccelSide, flow: bigint, reason: AccelReason): FlowState {
    return this.#run({ action: "refuse", side, flow, reason });
  }

  /** Undefined once both sides have left. */
  counts(flow: bigint): AccelFlow | undefined {
    return this.#flows.get(flow);
  }

  leave(side: AccelSide, flow: bigint): void {
    this.#run({ action: "leave", side, flow });
  }

  [Symbol.dispose](): void {
    this.#program.close();
    this.#flows.close();
    this.#withdrawn.close();
  }

  #run(question: Question): FlowState {
    return runAdvance(this.#program, { ...question, budget: this.#source.budget, patience: PATIENCE_NS }, this.#netns);
  }

  #keyOf({ local, remote }: SocketEnds): SocketKey {
    return {
      netns: this.#cookie,
      local: local.address,
      remote: remote.address,
      localPort: local.port,
      remotePort: remote.port,
      family: local.address.includes(":") ? AF_INET6 : AF_INET,
    };
  }
}
