// SPDX-License-Identifier: Apache-2.0
import { z } from "zod";
import { PACKET_POLICIES } from "../model.ts";

export const PROBE_MODES = ["ebpf", "mixed", "iptables", "tproxy", "nftables", "none"] as const;
export const ACCELERATIONS = ["on", "asymmetric", "splice-only", "off"] as const;
export const VERDICTS = ["ok", "broken", "worked-around", "untested"] as const;
export const TIERS = ["A", "B", "C", "D"] as const;

const feature = z.object({
  ok: z.boolean(),
  reason: z.string().optional().meta({ description: "why not, in words" }),
});

/** Somebody else's program on the path of a connection. */
const foreignProgram = z.object({
  hook: z.string().meta({ examples: ["cgroup/connect4"] }),
  cgroup: z.string().meta({ description: "directory the program is attached to" }),
  id: z.int().min(0).meta({ description: "kernel id of the program" }),
  name: z.string(),
  order: z.int().min(0).meta({ description: "place among the programs of this hook, 0 runs first" }),
  exclusive: z
    .boolean()
    .meta({ description: "attached without a flag that allows others: nothing can be attached below" }),
});

/** Somebody's program or rule that decides about packets. */
export const packetPolicy = z.object({
  kind: z.enum(PACKET_POLICIES),
  where: z.string().meta({ examples: ["eth0 tcx ingress", "table ip filter, chain INPUT"] }),
});

/** What the contract self-test found; docs/acceleration.md has every behaviour. */
const contract = z.object({
  acceleration: z.enum(ACCELERATIONS).meta({
    description:
      "on: every path; asymmetric: what applications send, not what they receive; splice-only: between the proxies' sockets; off",
  }),
  behaviours: z
    .record(
      z.string(),
      z.object({
        verdict: z.enum(VERDICTS).meta({ description: "untested counts as broken" }),
        detail: z.string().meta({ description: "what was seen, or why it was not tried" }),
      }),
    )
    .meta({ description: "by kebab-case name, each tried with real sockets on this kernel" }),
});

/** `shunt probe --json`. */
export const probeSchema = z
  .object({
    mode: z.enum(PROBE_MODES).meta({ description: "what --mode auto chooses here" }),
    outbound: z
      .string()
      .meta({ description: "what intercepts outbound connections", examples: ["ebpf", "iptables", "none"] }),
    inbound: z
      .string()
      .meta({ description: "what intercepts inbound connections", examples: ["ebpf", "iptables", "none"] }),
    originalDestination: z.string().meta({ description: "how the original destination becomes known" }),
    tier: z.enum(TIERS).nullable().meta({
      description: "A: eBPF both ways, acceleration allowed; B: eBPF both ways; C: mixed; D: rules only; null: none",
    }),
    reason: z.string().meta({ description: "why this mode and no better one" }),
    features: z.record(z.string(), feature).meta({ description: "by kebab-case name, each tried on this kernel" }),
    foreignPrograms: z
      .array(foreignProgram)
      .optional()
      .meta({ description: "programs of others on the path, in the order they run" }),
    packetPolicies: z.array(packetPolicy).optional().meta({
      description: "what packets meet in the command's own namespace and cgroup, so that connections don't go `direct`",
    }),
    contract: contract.optional().meta({ description: "with --contract: how far acceleration may go here, and why" }),
  })
  .meta({ title: "Shunt probe report", description: "What `shunt probe --json` prints." });

export type ContractReport = z.infer<typeof contract>;
export type ProbeReport = z.infer<typeof probeSchema>;
