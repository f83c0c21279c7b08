// SPDX-License-Identifier: Apache-2.0
import type { Backend } from "../backend.ts";
import { adopt, apply, type EbpfRulesPlan, findOurs, planRules, remove, verifyApplied } from "./apply.ts";
import { probe } from "./probe.ts";
import { render } from "./render.ts";

/** eBPF as the back-ends of rules are: for whoever applies it by hand, and nobody stays. Agents use EbpfBackend. */
export const ebpfRules: Backend<EbpfRulesPlan> = {
  name: "ebpf",
  probe,
  plan: planRules,
  render: ({ maps, hooks }) => render(maps, hooks),
  apply,
  adopt,
  verify: verifyApplied,
  remove,
  findOurs,
};
