// SPDX-License-Identifier: Apache-2.0
import type { Drift } from "../intercept/backend.ts";
import type { NetworkNamespace } from "../intercept/network-namespace.ts";
import { loadAddon } from "../native/load-addon.ts";
import { check } from "../native/status.ts";
import type { HostChange } from "./host-change.ts";
import { PASSTHROUGH_ADDRESS } from "./identity.ts";

export function hasPassthroughAddress(netns: NetworkNamespace): boolean {
  return netns.addresses().includes(PASSTHROUGH_ADDRESS[6]);
}

/** How a namespace without the address differs from what `addPassthroughAddress` makes. */
export function passthroughDrift(netns: NetworkNamespace): Drift[] {
  if (hasPassthroughAddress(netns)) return [];
  const address = `${PASSTHROUGH_ADDRESS[6]}/128`;
  return [{ family: 6, table: "address", chain: address, kind: "missing", expected: [`${address} on lo`], actual: [] }];
}

/** ::6 on lo, so that the proxy can bind to it as Istio's sidecars do; 127.0.0.6 is local anyway. */
export function addPassthroughAddress(netns: NetworkNamespace): HostChange[] {
  const address = PASSTHROUGH_ADDRESS[6];
  if (!hasPassthroughAddress(netns))
    check(loadAddon().changeAddress(netns.fd, true, "lo", address, 128), "RTM_NEWADDR", `${address}/128 on lo`);
  return [
    {
      kind: "address",
      family: "ipv6",
      description: `address ${address}/128 on lo`,
      async remove() {
        removePassthroughAddress(netns);
      },
    },
  ];
}

/** Whether it was there. */
export function removePassthroughAddress(netns: NetworkNamespace): boolean {
  const address = PASSTHROUGH_ADDRESS[6];
  if (!hasPassthroughAddress(netns)) return false;
  check(loadAddon().changeAddress(netns.fd, false, "lo", address, 128), "RTM_DELADDR", `${address}/128 on lo`);
  return true;
}
