// SPDX-License-Identifier: Apache-2.0
import type {
  AccelSide,
  SpliceAction,
  SpliceFlow,
  SpliceKey,
  SpliceReason,
  SpliceSocket,
  SpliceState,
} from "../bpf/generated/types.ts";
import { TypedMap } from "../bpf/typed-map.ts";
import type { NativeProgram } from "../native/addon.ts";
import { loadAddon } from "../native/load-addon.ts";
import { check } from "../native/status.ts";
import { keyOfEnds, type SocketEnds } from "./socket-ends.ts";
import { spliceLayouts } from "./splice-object.ts";
import type { SpliceSource } from "./splice-source.ts";

/** One of the proxy's own sockets, while nothing of it waits in this process. */
export interface ProxySocket {
  readonly ends: SocketEnds;
  /** SO_COOKIE. */
  readonly cookie: bigint;
  /** Bytes that this process has read from it. */
  readonly read: number;
  /** Bytes that the kernel has been given to send. */
  readonly written: number;
}

/** Where a leg stands, as the kernel's program has answered. */
export interface LegState {
  readonly flow: SpliceKey;
  readonly state: SpliceState;
  readonly peerState: SpliceState;
  readonly reason: SpliceReason;
  /** Everything redirected from it is with the other leg's socket. */
  readonly drained: boolean;
  /** Its application has ended the connection, or half of it, or there was an error. */
  readonly ended: boolean;
  /** Bytes wait for the kernel's worker, to be sent by its socket or to be read from it. */
  readonly pending: boolean;
}

/** A quarter of a megabyte in one go goes faster by the proxy; see docs/acceleration.md. */
const RUN_LIMIT = 262_144;
const ETHERNET: readonly number[] = Array.from({ length: 16 }, () => 0);
const NO_FLOW: SpliceKey = { id: 0n, alone: 0n };
const NO_ENDS: SocketEnds = { local: { address: "::", port: 0 }, remote: { address: "::", port: 0 } };
const NOBODY: ProxySocket = { ends: NO_ENDS, cookie: 0n, read: 0, written: 0 };

/** Asks the program `hand_over` on behalf of one workload's connections, inside its namespace. */
export class SpliceDriver implements Disposable {
  readonly #source: SpliceSource;
  readonly #netns: number | undefined;
  readonly #cookie: bigint;
  readonly #scope: bigint;
  readonly #waker: number;
  readonly #program: NativeProgram;
  readonly #flows: TypedMap<"splice_flows">;

  /** `netns`: as FlowDriver. `waker`: this thread's entry in splice_wakers. */
  constructor(source: SpliceSource, netns: number | undefined, waker: number) {
    this.#source = source;
    this.#netns = netns;
    this.#cookie = BigInt(source.netnsCookie);
    this.#scope = BigInt(source.scope);
    this.#waker = waker;
    this.#program = check(loadAddon().programFromFd(source.handOverFd), "dup", "program hand_over");
    const flows = check(loadAddon().mapFromFd(source.flowsFd), "dup", "map splice_flows");
    this.#flows = new TypedMap("splice_flows", flows, spliceLayouts().flows);
  }

  excludes(port: number): boolean {
    return this.#source.excludePorts.includes(port);
  }

  /** Enters `near` as a leg of a pair; the flow is that of an earlier answer, if there was one. */
  join(side: AccelSide, near: ProxySocket, outer: ProxySocket, flow = NO_FLOW): LegState {
    return this.#run("join", side, flow, near, outer);
  }

  /** Enters both sockets of this proxy; the answer is about `near`, which is side "client". */
  alone(near: ProxySocket, outer: ProxySocket): LegState {
    return this.#run("alone", "client", NO_FLOW, near, outer);
  }

  /** This side of a pair will never be a leg of it. */
  refuse(side: AccelSide, near: ProxySocket, outer: ProxySocket, flow: SpliceKey): void {
    this.#run("refuse", side, flow, near, outer);
  }

  /** `read` bytes in all; nobody reads more of the leg's socket as long as the state is "armed" or "open". */
  arm(side: AccelSide, flow: SpliceKey, read: number): LegState {
    return this.#run("arm", side, flow, { ...NOBODY, read });
  }

  /** Of a leg whose socket nobody reads. It is closed where somebody has to. */
  look(side: AccelSide, flow: SpliceKey, read: number): LegState {
    return this.#run("look", side, flow, { ...NOBODY, read });
  }

  /** Undefined once both sides have left. */
  counts(flow: SpliceKey): SpliceFlow | undefined {
    return this.#flows.get(flow);
  }

  leave(side: AccelSide, flow: SpliceKey): void {
    this.#run("leave", side, flow);
  }

  [Symbol.dispose](): void {
    this.#program.close();
    this.#flows.close();
  }

  #run(action: SpliceAction, side: AccelSide, flow: SpliceKey, near = NOBODY, outer = NOBODY): LegState {
    const { request } = spliceLayouts();
    const data = new Uint8Array(request.size);
    const { budget } = this.#source;
    request.encode(new DataView(data.buffer), 0, {
      ethernet: ETHERNET,
      near: this.#socket(near),
      outer: this.#socket(outer),
      flow,
      scope: this.#scope,
      action,
      side,
      budget,
      runLimit: RUN_LIMIT,
      waker: this.#waker,
      state: "unknown",
      peerState: "unknown",
      reason: "none",
      drained: 0,
      ended: 0,
      pending: 0,
    });
    const run = check(this.#program.testRun({ data, netns: this.#netns }), "BPF_PROG_TEST_RUN", "hand_over");
    const answer = request.decode(new DataView(run.data.buffer, run.data.byteOffset, run.data.byteLength), 0);
    const { state, peerState, reason, drained, ended, pending } = answer;
    return {
      flow: answer.flow,
      state,
      peerState,
      reason,
      drained: drained !== 0,
      ended: ended !== 0,
      pending: pending !== 0,
    };
  }

  #socket({ ends, cookie, read, written }: ProxySocket): SpliceSocket {
    // Sequence numbers are 32 bits wide, and so is what they are compared with.
    return { key: keyOfEnds(this.#cookie, ends), cookie, read: read % 2 ** 32, written: written % 2 ** 32 };
  }
}
