// SPDX-License-Identifier: Apache-2.0
import { z } from "zod";

export const RULES_ACTIONS = ["plan", "apply", "verify", "remove", "validate"] as const;
export type RulesAction = (typeof RULES_ACTIONS)[number];

/** Each of the ways to intercept that the kernel keeps up by itself. */
export const RULES_BACKENDS = ["ebpf", "iptables", "tproxy", "nftables"] as const;
export type RulesBackendName = (typeof RULES_BACKENDS)[number];

const OUTCOMES = [
  "planned",
  "applied",
  "updated",
  "unchanged",
  "as-planned",
  "drifted",
  "removed",
  "nothing",
  "valid",
  "invalid",
  "skipped",
  "failed",
] as const;

const family = z.union([z.literal(4), z.literal(6)]);
const lines = z.array(z.string());

const part = z.object({
  title: z.string().meta({ examples: ["IPv4 rules", "policy routing"] }),
  command: lines.meta({
    description: "program and arguments that take `text`; empty where the kernel is asked directly",
  }),
  text: z.string(),
});

const drift = z.object({
  family: family.optional().meta({ description: "absent where one object serves both" }),
  table: z.string().meta({ description: "table, map, or kind of object" }),
  chain: z.string().meta({ description: "chain, map key, or name of the object" }),
  kind: z.enum(["missing", "unexpected", "changed"]),
  expected: lines,
  actual: lines,
});

const leftover = z.object({
  who: z.string().meta({ description: "whose it is: shunt, istio, kuma, linkerd, osm" }),
  kind: z.string().meta({ examples: ["chain", "rule", "nft table", "ip rule", "back-end"] }),
  what: z.string(),
  where: z.string().meta({ description: "program that lists it" }),
  removed: z.boolean(),
});

const connection = z.object({
  direction: z.enum(["outbound", "inbound"]),
  family,
  to: z.string().meta({ description: "where it was made to" }),
  ok: z.boolean(),
  port: z
    .int()
    .optional()
    .meta({ description: "the proxy's port it arrived on; absent where a running proxy took it" }),
  reason: z.string().optional().meta({ description: "why not" }),
});

const workload = z.object({
  name: z.string(),
  target: z.string().meta({ examples: ["netns:/run/netns/blue"] }),
  backend: z.enum(RULES_BACKENDS).optional().meta({ description: "absent: none was asked" }),
  outcome: z.enum(OUTCOMES),
  reason: z.string().optional().meta({ description: "why skipped, why failed" }),
  warnings: lines.meta({ description: "what this back-end can't do of what was asked, and what is to be known" }),
  parts: z.array(part).optional().meta({ description: "plan: what would be applied, in order" }),
  drift: z.array(drift).optional().meta({ description: "verify: what differs; apply: what was brought to the plan" }),
  leftovers: z
    .array(leftover)
    .optional()
    .meta({ description: "of earlier versions, other interceptors, other back-ends" }),
  removed: z.array(z.enum(RULES_BACKENDS)).optional().meta({ description: "remove: which had something" }),
  connections: z.array(connection).optional().meta({ description: "validate: those that were made" }),
  untested: lines.optional().meta({ description: "validate: what can't be tested with these settings, and why" }),
});

/** `shunt rules … --format json`. */
export const rulesSchema = z
  .object({ action: z.enum(RULES_ACTIONS), workloads: z.array(workload) })
  .meta({ title: "Shunt rules report", description: "What `shunt rules … --format json` prints." });

export type RulesReport = z.infer<typeof rulesSchema>;
export type WorkloadReport = z.infer<typeof workload>;
export type LeftoverReport = z.infer<typeof leftover>;
export type ConnectionReport = z.infer<typeof connection>;
