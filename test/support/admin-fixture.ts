// SPDX-License-Identifier: Apache-2.0
/** An agent's state without an agent: what an admin server is asked for, to be changed by the test. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AdminSource, UnknownWorkloadError } from "../../src/admin/admin-source.ts";
import type { Flow } from "../../src/config/formats/flow.ts";
import type { StatusReport } from "../../src/config/formats/status.ts";
import { loadAgentConfig } from "../../src/config/parse.ts";

export const exampleConfig = loadAgentConfig(join(import.meta.dirname, "../../examples/agent.yaml"));

export function aFlow(id: string, more: Partial<Flow> = {}): Flow {
  return {
    id,
    state: "open",
    time: "2026-11-20T10:00:00.000Z",
    workload: "blue",
    direction: "outbound",
    source: `10.0.0.1:${40_000 + Number(id)}`,
    originalDestination: "10.0.0.2:80",
    upstream: "10.0.0.2:80",
    interception: "ebpf",
    bytesSent: 0,
    bytesReceived: 0,
    durationMs: 0,
    ...more,
  };
}

export const aStatus: StatusReport = {
  agent: {
    name: "t",
    pid: 7,
    version: "0.1.0",
    uptimeSeconds: 3661.5,
    mode: "ebpf",
    reason: "all hooks are there",
    ready: true,
  },
  acceleration: { state: "idle", reason: "no workload asks for it" },
  workloads: [
    {
      name: "blue",
      target: "netns:/run/netns/blue",
      mode: "ebpf",
      outbound: "ebpf",
      inbound: "off",
      failMode: "deny",
      listeners: [{ direction: "outbound", address: "127.0.0.1:15001", protocol: "tcp" }],
      notIntercepted: 4,
      counters: { outbound: { "all-included": 12, loopback: 0 }, inbound: {} },
      connections: { active: 2, total: 12 },
    },
  ],
  workers: [{ id: 1, state: "running", connections: 2, restarts: 0 }],
  hostAdditions: [{ kind: "ip-rule", family: "ipv4", text: "fwmark 0x539 lookup 133" }],
};

export class FixtureSource implements AdminSource {
  isReady = true;
  open: Flow[] = [];
  readonly followers = new Set<(flow: Flow) => void>();

  tell(flow: Flow): void {
    for (const follower of this.followers) follower(flow);
  }

  metrics() {
    return [
      {
        name: "shunt_ready",
        help: "One when ready.",
        type: "gauge" as const,
        samples: [{ value: this.isReady ? 1 : 0 }],
      },
    ];
  }

  ready() {
    return this.isReady ? { ready: true, reason: "2 workloads" } : { ready: false, reason: "blue: no listener" };
  }

  config() {
    return exampleConfig;
  }

  status(): StatusReport {
    return aStatus;
  }

  flows(): Flow[] {
    return this.open;
  }

  follow(listener: (flow: Flow) => void): () => void {
    this.followers.add(listener);
    return () => void this.followers.delete(listener);
  }

  accelerate(on: boolean): StatusReport["acceleration"] {
    return { state: on ? "on" : "off", reason: "asked for" };
  }

  explain(query: Parameters<AdminSource["explain"]>[0]) {
    if (query.workload === "broken") throw new RangeError("odd");
    if (query.workload !== "blue") throw new UnknownWorkloadError(query.workload, ["blue"]);
    return {
      query,
      verdict: "redirect" as const,
      reason: "all-included",
      rule: "outbound.includeCidrs: *",
      decidedBy: "workloads[1].flags OUTBOUND_ALL",
      goesTo: "127.0.0.1:15001",
    };
  }
}

/** A folder that is gone when the test is. */
export function temporaryFolder(): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), `shunt-test-${process.pid}-`));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}
