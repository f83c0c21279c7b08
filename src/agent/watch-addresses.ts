// SPDX-License-Identifier: Apache-2.0
import type { NetworkNamespace } from "../intercept/network-namespace.ts";
import { loadAddon } from "../native/load-addon.ts";
import { check } from "../native/status.ts";

/** Tells the namespace's addresses again whenever rtnetlink reports a change. */
export function watchAddresses(netns: NetworkNamespace, onChange: (addresses: readonly string[]) => void): Disposable {
  const watcher = check(
    loadAddon().watchAddresses(netns.fd, () => onChange(netns.localAddresses())),
    "bind(NETLINK_ROUTE)",
    netns.path,
  );
  watcher.unref();
  return { [Symbol.dispose]: () => watcher.close() };
}
