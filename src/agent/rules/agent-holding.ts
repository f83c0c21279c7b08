// SPDX-License-Identifier: Apache-2.0
import { existsSync } from "node:fs";
import { Bpffs } from "../../bpf/bpffs.ts";
import type { TargetConfig } from "../../config/model.ts";
import { PinDirectory } from "../../intercept/ebpf/pins.ts";
import { isRulesInstance } from "../../intercept/ebpf/rules-instance.ts";
import { holderOf } from "../scope-lock.ts";
import { resolveTarget } from "../target.ts";

/** `agent "x", pid 7`: one that runs, has this target, and has programs in force; undefined when there is none. */
export function agentWithPrograms(config: TargetConfig): string | undefined {
  const { netns, key } = resolveTarget(config);
  netns[Symbol.dispose]();
  const holder = holderOf(key);
  if (!holder || isRulesInstance(holder.name)) return undefined;
  using bpffs = Bpffs.find();
  const hasPrograms = bpffs !== undefined && existsSync(new PinDirectory(bpffs.path, holder.name).path);
  return hasPrograms ? `agent "${holder.name}", pid ${holder.pid}` : undefined;
}
