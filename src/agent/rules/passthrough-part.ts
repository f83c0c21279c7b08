// SPDX-License-Identifier: Apache-2.0
/** ::6 on lo, which sidecars bind to: a part of every plan that has connections arrive. */
import type { Drift, Rendered } from "../../intercept/backend.ts";
import type { NetworkNamespace } from "../../intercept/network-namespace.ts";
import type { InterceptSpec } from "../../intercept/spec.ts";
import { PASSTHROUGH_ADDRESS } from "../identity.ts";
import { hasPassthroughAddress } from "../passthrough-address.ts";

const ADDRESS = `${PASSTHROUGH_ADDRESS[6]}/128`;

export function addressPart({ inbound }: InterceptSpec): readonly Rendered[] {
  if (inbound === undefined) return [];
  const command = ["ip", "-6", "addr", "add", ADDRESS, "dev", "lo"];
  return [{ title: "address of the proxy's connections to the workload, where there is IPv6", command, text: "" }];
}

export function addressDrift({ inbound }: InterceptSpec, netns: NetworkNamespace): readonly Drift[] {
  if (inbound === undefined || !netns.hasIpv6() || hasPassthroughAddress(netns)) return [];
  return [{ family: 6, table: "address", chain: "lo", kind: "missing", expected: [ADDRESS], actual: [] }];
}
