// SPDX-License-Identifier: Apache-2.0
import { z } from "zod";
import { FAIL_MODES } from "../model.ts";
import { PROBE_MODES, packetPolicy } from "./probe.ts";
import { count, endpoint } from "./values.ts";

const reasonCounts = z.record(z.string(), count).meta({ description: "number of verdicts by reason code" });

const intercepted = z
  .string()
  .meta({ description: "what intercepts this direction", examples: ["ebpf", "iptables", "off"] });

const listener = z.object({
  direction: z.enum(["outbound", "inbound", "dns"]),
  address: endpoint,
  protocol: z.enum(["tcp", "udp"]),
});

const workload = z.object({
  name: z.string(),
  target: z.string().meta({ description: "netns:PATH, pid:PID or cgroup:PATH" }),
  mode: z.enum(PROBE_MODES),
  outbound: intercepted,
  inbound: intercepted,
  failMode: z.enum(FAIL_MODES),
  listeners: z.array(listener).meta({ description: "what the proxy listens on in the workload's namespace" }),
  notIntercepted: count.meta({ description: "connections that were established before the workload was enrolled" }),
  counters: z.object({ outbound: reasonCounts, inbound: reasonCounts }),
  connections: z
    .object({ active: count, total: count })
    .meta({ description: "connections the proxy has, and has had" }),
  drift: z
    .object({
      found: count.meta({ description: "differences, since the workload's start" }),
      time: z.string().meta({ description: "when the last of them were found" }),
      last: z.array(z.string()).meta({ description: "what they were" }),
      repaired: z.boolean(),
    })
    .optional()
    .meta({ description: "what was found to differ from what should be in force; absent when nothing ever was" }),
  outgoing: z
    .array(z.string())
    .optional()
    .meta({ description: "what captures nothing any more, but stays until connections that came by it have ended" }),
  foreignRules: z
    .array(z.string())
    .optional()
    .meta({ description: "rules of other interceptors, found in the namespace when the workload began" }),
  packetPolicies: z
    .array(packetPolicy)
    .optional()
    .meta({ description: "what packets of the namespace meet, so that its connections don't go `direct`" }),
  problem: z.string().optional().meta({ description: "why the workload is not intercepted as asked" }),
});

const worker = z.object({
  id: count,
  state: z.enum(["starting", "running", "draining", "lost"]),
  connections: count.meta({ description: "connections it has now" }),
  restarts: count.meta({ description: "how many times it had to be replaced" }),
});

/** Something the agent added to or set on the machine beside maps and programs, and takes back in the end. */
const hostAddition = z.object({
  kind: z.enum(["ip-rule", "route", "address", "sysctl", "iptables", "nftables", "cgroup", "mount"]),
  family: z.enum(["ipv4", "ipv6"]).optional(),
  netns: z.string().optional().meta({ description: "namespace it is in; absent for the agent's own" }),
  text: z.string().meta({ description: "as the tool that lists it would show it" }),
});

/** `shunt status --json` and GET /status. */
export const statusSchema = z
  .object({
    agent: z.object({
      name: z.string(),
      pid: z.int().min(1),
      version: z.string(),
      uptimeSeconds: z.number().min(0),
      mode: z.enum(PROBE_MODES),
      reason: z.string().meta({ description: "why this mode" }),
      ready: z.boolean(),
    }),
    acceleration: z.object({
      state: z.enum(["idle", "testing", "on", "off", "unavailable"]).meta({
        description:
          "`idle`: no workload asks for it; `testing`: the kernel's contract is being tried; `off`: switched off by hand; `unavailable`: bytes are copied",
      }),
      reason: z.string(),
    }),
    workloads: z.array(workload),
    workers: z.array(worker),
    hostAdditions: z.array(hostAddition),
  })
  .meta({ title: "Shunt status report", description: "What `shunt status --json` and GET /status answer." });

export type StatusReport = z.infer<typeof statusSchema>;
export type WorkloadStatus = StatusReport["workloads"][number];
