// SPDX-License-Identifier: Apache-2.0
import type { Mode } from "../config/model.ts";
import { UsageError } from "./usage-error.ts";

/** Modes that have a name and no back-end. */
const UNAVAILABLE_MODES: readonly Mode[] = ["tproxy", "nftables"];

/** `origin` says where the mode was written: "--mode" or a file with its field. */
export function checkMode(mode: Mode, origin: string): Mode {
  if (!UNAVAILABLE_MODES.includes(mode)) return mode;
  throw new UsageError(`${origin} ${mode} is not available in this version (auto, ebpf, mixed and iptables are)`);
}
