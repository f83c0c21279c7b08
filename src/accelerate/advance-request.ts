// SPDX-License-Identifier: Apache-2.0
import type { AccelAction, AccelReason, AccelRequest, AccelState, SocketKey } from "../bpf/generated/types.ts";
import type { NativeProgram } from "../native/addon.ts";
import { check } from "../native/status.ts";
import { accelerateLayouts } from "./accelerate-object.ts";

/** Where a flow stands, as the kernel's program has answered. */
export interface FlowState {
  /** 0n: the kernel knows none. */
  readonly flow: bigint;
  readonly state: AccelState;
  readonly peerState: AccelState;
  readonly reason: AccelReason;
  readonly hasUnread: boolean;
  /** Of the application's socket, where nothing but its reader keeps it out of the map. */
  readonly inode: bigint;
  /** See ReadSocket. */
  readonly credentials: bigint;
  readonly opener: number;
}

/** What is asked, besides what is always the same. */
export type Question = Pick<AccelRequest, "flow" | "side"> & { readonly action: AccelAction } & Partial<AccelRequest>;

const AF_INET6 = 10;
const ETHERNET: readonly number[] = Array.from({ length: 16 }, () => 0);

const NOBODY: SocketKey = { netns: 0n, local: "::", remote: "::", localPort: 0, remotePort: 0, family: AF_INET6 };

/** Runs the program `advance` or `join`, in the namespace of `netns` (an fd) or the caller's own. */
export function runAdvance(program: NativeProgram, question: Question, netns?: number): FlowState {
  const { request } = accelerateLayouts();
  const data = new Uint8Array(request.size);
  const asked: AccelRequest = {
    ethernet: ETHERNET,
    app: NOBODY,
    outer: NOBODY,
    budget: 0,
    patience: 0,
    state: "unknown",
    reason: "none",
    peerState: "unknown",
    unread: 0,
    reader: 0,
    inode: 0n,
    credentials: 0n,
    opener: 0,
    ...question,
  };
  request.encode(new DataView(data.buffer), 0, asked);
  const run = check(program.testRun({ data, netns }), "BPF_PROG_TEST_RUN", "advance");
  const answer = request.decode(new DataView(run.data.buffer, run.data.byteOffset, run.data.byteLength), 0);
  const { flow, state, peerState, reason, inode, credentials, opener } = answer;
  return { flow, state, peerState, reason, hasUnread: answer.unread !== 0, inode, credentials, opener };
}
