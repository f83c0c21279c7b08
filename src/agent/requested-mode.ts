// SPDX-License-Identifier: Apache-2.0
import type { Mode } from "../config/model.ts";
import type { RequestedMode } from "../intercept/select.ts";
import { ShuntError } from "../util/shunt-error.ts";

/** The modes that exist; the command line refuses the others before it comes to this. */
export function toRequestedMode(mode: Mode): RequestedMode {
  if (mode === "tproxy" || mode === "nftables") {
    throw new ShuntError("ERR_MODE_UNAVAILABLE", `mode: ${mode} is not available: auto, ebpf, mixed or iptables`);
  }
  return mode;
}
