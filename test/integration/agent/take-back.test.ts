// SPDX-License-Identifier: Apache-2.0
/** What a reload did away with is wanted again by the next one, which takes longer than the old has left to live. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from "vitest";
import { WorkerPool } from "../../../src/agent/workers/worker-pool.ts";
import type { ListenerRoute } from "../../../src/agent/workload/listener-group.ts";
import { type ListenerSet, ProxyListeners } from "../../../src/agent/workload/proxy-listeners.ts";
import { LINGER_MS } from "../../../src/agent/workload/workload-context.ts";
import { AGENT_DEFAULTS, PRESETS } from "../../../src/config/presets.ts";
import { NetworkNamespace } from "../../../src/intercept/network-namespace.ts";
import { listens } from "../../support/external-proxy.ts";
import { eventually } from "../../support/inbox.ts";
import { NetLab } from "../../support/net-lab.ts";

const { traffic } = PRESETS.istio;
const REACHES = { outbound: "loopback", inbound: "loopback" } as const;
const ROUTE: ListenerRoute = {
  workload: "app",
  mark: 1,
  source: { kind: "local" },
  ownPorts: [],
  originals: [{ kind: "conntrack" }],
  connectTimeoutMs: 1000,
  idleTimeoutMs: 0,
};

let lab: NetLab;
let netns: NetworkNamespace;
let pool: WorkerPool;
beforeAll(async () => {
  lab = new NetLab("again");
  netns = new NetworkNamespace(lab.client.path);
  pool = await WorkerPool.start({ workers: 1, onRecord: () => {} });
});
afterAll(async () => {
  await pool[Symbol.asyncDispose]();
  netns[Symbol.dispose]();
  lab[Symbol.dispose]();
});
let listeners: ProxyListeners;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  listeners = new ProxyListeners(netns, pool, () => {});
});
afterEach(async () => {
  vi.useRealTimers();
  await listeners.close();
});

async function begun(port: number): Promise<ListenerSet> {
  const target = { kind: "netns" as const, path: netns.path };
  const config = { name: "app", target, mode: "ebpf" as const, acceleration: AGENT_DEFAULTS.acceleration, ...traffic };
  const set = listeners.open(
    { ...config, outbound: { ...traffic.outbound, port }, inbound: { ...traffic.inbound, enabled: false } },
    REACHES,
  );
  await listeners.start(set, () => ROUTE);
  return set;
}

it("a port that is taken back goes on listening, however long the change takes", async () => {
  listeners.adopt(await begun(15001));
  listeners.adopt(await begun(15101));
  const again = await begun(15001);
  await vi.advanceTimersByTimeAsync(LINGER_MS);
  listeners.adopt(again);
  await vi.advanceTimersByTimeAsync(LINGER_MS);
  vi.useRealTimers();
  await eventually(() => !listens(netns.path, 15101));
  expect(listens(netns.path, 15001)).toBe(true);
});

it("a port that was to be taken back by a change which was refused goes after all", async () => {
  listeners.adopt(await begun(15001));
  listeners.adopt(await begun(15101));
  await listeners.discard(await begun(15001));
  expect(listens(netns.path, 15001)).toBe(true);
  await vi.advanceTimersByTimeAsync(LINGER_MS);
  vi.useRealTimers();
  await eventually(() => !listens(netns.path, 15001));
  expect(listens(netns.path, 15101)).toBe(true);
});
