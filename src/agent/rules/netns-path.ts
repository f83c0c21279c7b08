// SPDX-License-Identifier: Apache-2.0
import type { InterceptSpec } from "../../intercept/spec.ts";

/** Namespace that rules of a workload are in. */
export function netnsPathOf({ target }: Pick<InterceptSpec, "target">): string {
  return target.kind === "netns" ? target.path : target.netnsPath;
}
