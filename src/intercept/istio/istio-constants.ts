// SPDX-License-Identifier: Apache-2.0
/** Numbers and addresses that Istio's generators fix (istio/tools/istio-iptables/pkg/constants, istio/cni/pkg/config). */
import type { IptablesFamily } from "./iptables-program.ts";

export const DNS_PORT = 53;
/** Where the sidecar's agent and ztunnel answer DNS. */
export const DNS_CAPTURE_PORT = 15053;
/** Mark of what a TPROXY sidecar sends to its own pod: 1337 would be taken for the application's answer. */
export const SIDECAR_OUTBOUND_MARK = 1338;

/** Mark and mask by which in-pod rules know ztunnel's packets. */
export const ZTUNNEL_MARK = 0x539;
export const ZTUNNEL_MASK = 0xfff;
/** Connmark of connections that ztunnel has made in the pod. */
export const ZTUNNEL_CONNMARK = 0x111;
export const ZTUNNEL_ROUTE_TABLE = 100;
export const ZTUNNEL_RULE_PRIORITY = 32764;
export const ZTUNNEL_INBOUND_PORT = 15008;
export const ZTUNNEL_OUTBOUND_PORT = 15001;
export const ZTUNNEL_PLAINTEXT_PORT = 15006;
/** Sets of the pods' addresses on the host, one per family: "-v4", "-v6". */
export const PROBE_SET = "istio-inpod-probes";

export const LOOPBACK_V6 = "::1/128";
export const LOOPBACK_V4 = "127.0.0.1/32";

/** Source of the proxy's pass-through connections to its own application. */
export function passthroughSource(family: IptablesFamily): string {
  return family === 4 ? "127.0.0.6/32" : "::6/128";
}

export function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
