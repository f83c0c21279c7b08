// SPDX-License-Identifier: Apache-2.0
/** Flows whose worker has crashed have nobody who leaves them. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { accelerateLayouts } from "../../../src/accelerate/accelerate-object.ts";
import { AccelerationPrograms } from "../../../src/accelerate/acceleration-programs.ts";
import type { AccelEnd } from "../../../src/bpf/generated/types.ts";
import { TypedMap } from "../../../src/bpf/typed-map.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check } from "../../../src/native/status.ts";
import { TestCgroup } from "../../support/test-cgroup.ts";

const LOOKS = 60;
const FLOW = 77n;

let cgroup: TestCgroup;
let programs: AccelerationPrograms;
beforeAll(() => {
  cgroup = new TestCgroup();
  programs = new AccelerationPrograms(cgroup.path);
});
afterAll(async () => {
  programs?.[Symbol.dispose]();
  await cgroup?.[Symbol.asyncDispose]();
});

/** Of a socket that was closed: its memory is nobody's, or another one's. */
const closed: AccelEnd = {
  key: { netns: 1n, local: "::", remote: "::", localPort: 1, remotePort: 2, family: 10 },
  socket: 0n,
  cookie: 1n,
  sent: 0,
  read: 0,
  state: "enrolled",
  reason: "none",
  redirectedBytes: 0n,
  redirectedMessages: 0n,
  tcpMessages: 0n,
  overBudget: 0n,
  open: 0,
  reader: 0,
  inode: 0n,
  waits: 0n,
  waitsInVain: 0n,
  waited: 0n,
  nextWait: 0n,
  rest: 0n,
  permission: "leg",
  look: { first: 0n, came: 0n, waiting: 0, repeated: 0 },
};

it("go a minute after the last of their sockets, and not before", () => {
  const policy = { cookie: 1n, budget: 1, excludePorts: [], paths: [], asymmetric: false, cgroupPolicies: undefined };
  const { flowsFd } = programs.allow(policy);
  using flows = new TypedMap(
    "accel_flows",
    check(loadAddon().mapFromFd(flowsFd), "dup", "accel_flows"),
    accelerateLayouts().flows,
  );
  flows.set(FLOW, { ends: [closed, closed], budget: 0, left: 0, patience: 0, dead: 0 });
  for (let look = 1; look < LOOKS; look++) programs.watchReaders();
  expect(flows.get(FLOW)).toMatchObject({ dead: LOOKS - 1 });
  programs.watchReaders();
  expect(flows.get(FLOW)).toBeUndefined();
});
