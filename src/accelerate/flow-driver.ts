// SPDX-License-Identifier: Apache-2.0
import type { AccelAction, AccelFlow, AccelRequest, AccelSide, AccelState, SocketKey } from "../bpf/generated/types.ts";
import { TypedMap } from "../bpf/typed-map.ts";
import type { NativeProgram, SocketAddress } from "../native/addon.ts";
import { loadAddon } from "../native/load-addon.ts";
import { check } from "../native/status.ts";
import { accelerateLayouts } from "./accelerate-object.ts";
import type { AccelerationSource } from "./acceleration-source.ts";

/** A socket by its two ends, as its owner sees them. */
export interface SocketEnds {
  readonly local: SocketAddress;
  readonly remote: SocketAddress;
}

/** Where a flow stands, as the kernel's program has answered. */
export interface FlowState {
  /** 0n: the kernel knows none. */
  readonly flow: bigint;
  readonly state: AccelState;
  readonly peerState: AccelState;
  readonly reason: string;
  readonly hasUnread: boolean;
}

const AF_INET = 2;
const AF_INET6 = 10;
const ETHERNET: readonly number[] = Array.from({ length: 16 }, () => 0);

const NOBODY: SocketKey = { netns: 0n, local: "::", remote: "::", localPort: 0, remotePort: 0, family: AF_INET6 };

/** Asks the program `advance` on behalf of one workload's connections, inside its namespace. */
export class FlowDriver implements Disposable {
  readonly #source: AccelerationSource;
  readonly #netns: number | undefined;
  readonly #cookie: bigint;
  readonly #program: NativeProgram;
  readonly #flows: TypedMap<"accel_flows">;

  /** `netns`: fd of the workload's namespace, the caller's own when absent; stays the caller's. */
  constructor(source: AccelerationSource, netns: number | undefined) {
    this.#source = source;
    this.#netns = netns;
    this.#cookie = BigInt(source.netnsCookie);
    this.#program = check(loadAddon().programFromFd(source.advanceFd), "dup", "program advance");
    const flows = check(loadAddon().mapFromFd(source.flowsFd), "dup", "map accel_flows");
    this.#flows = new TypedMap("accel_flows", flows, accelerateLayouts().flows);
  }

  excludes(port: number): boolean {
    return this.#source.excludePorts.includes(port);
  }

  /** `app` and `outer` by their own ends: `app` is the application's socket, not the proxy's that it talks to. */
  advance(side: AccelSide, app: SocketEnds, outer: SocketEnds, flow: bigint): FlowState {
    return this.#run("advance", side, this.#keyOf(app), this.#keyOf(outer), flow);
  }

  /** Undefined once both sides have left. */
  counts(flow: bigint): AccelFlow | undefined {
    return this.#flows.get(flow);
  }

  leave(side: AccelSide, flow: bigint): void {
    this.#run("leave", side, NOBODY, NOBODY, flow);
  }

  [Symbol.dispose](): void {
    this.#program.close();
    this.#flows.close();
  }

  #run(action: AccelAction, side: AccelSide, app: SocketKey, outer: SocketKey, flow: bigint): FlowState {
    const { request } = accelerateLayouts();
    const data = new Uint8Array(request.size);
    const view = new DataView(data.buffer);
    const asked: AccelRequest = {
      ethernet: ETHERNET,
      app,
      outer,
      flow,
      action,
      side,
      budget: this.#source.budget,
      state: "unknown",
      reason: "none",
      peerState: "unknown",
      unread: 0,
    };
    request.encode(view, 0, asked);
    const run = check(this.#program.testRun({ data, netns: this.#netns }), "BPF_PROG_TEST_RUN", "advance");
    const answer = request.decode(new DataView(run.data.buffer, run.data.byteOffset, run.data.byteLength), 0);
    const { state, peerState, reason } = answer;
    return { flow: answer.flow, state, peerState, reason, hasUnread: answer.unread !== 0 };
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
