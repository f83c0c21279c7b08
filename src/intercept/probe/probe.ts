// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { probeCgroupFeatures } from "./cgroup-features.ts";
import { type FeatureName, type FeatureResult, type FeatureResults, features } from "./features.ts";
import { probeKernelFeatures } from "./kernel-features.ts";
import { attempt, refused } from "./outcome.ts";
import { probeRuleFeatures } from "./rule-features.ts";
import { ScratchCgroup } from "./scratch-cgroup.ts";

/**
 * Tries everything of features.ts on this machine, in namespaces and a cgroup of its own, and leaves nothing
 * behind. Never throws for what the machine lacks. `objects` is the directory of the built objects. Any
 * number of probes can run at the same time.
 */
export async function probe(objects: string): Promise<FeatureResults> {
  const results = new Map<FeatureName, FeatureResult>();
  const collect = (found: ReadonlyMap<FeatureName, FeatureResult>): void => {
    for (const [name, result] of found) results.set(name, result);
  };
  let cgroup: ScratchCgroup | undefined;
  results.set("cgroup2", await attempt(() => void (cgroup = new ScratchCgroup())));
  try {
    const everything = await attempt(async () => {
      const bytes = readFileSync(join(objects, "probe.bpf.o"));
      collect(await probeKernelFeatures(bytes, cgroup));
      if (cgroup !== undefined) collect(await probeCgroupFeatures(bytes, cgroup));
    });
    collect(await probeRuleFeatures(cgroup));
    fillIn(results, everything);
  } finally {
    await cgroup?.[Symbol.asyncDispose]();
  }
  return new Map(features.map(({ name }) => [name, results.get(name) ?? refused("was not tried")]));
}

/** What could not even be tried has the reason of what it needs. */
function fillIn(results: Map<FeatureName, FeatureResult>, everything: FeatureResult): void {
  const cgroup2 = results.get("cgroup2");
  const cause = !everything.ok ? everything : cgroup2;
  for (const { name } of features) {
    if (!results.has(name) && cause !== undefined && !cause.ok) results.set(name, cause);
  }
}
