// SPDX-License-Identifier: Apache-2.0
import type { TypedMap } from "../../bpf/typed-map.ts";
import { loadAddon } from "../../native/load-addon.ts";
import { takeListeners } from "../external-listeners.ts";
import { ListeningSockets } from "../listening-sockets.ts";
import type { NetworkNamespace } from "../network-namespace.ts";

/**
 * Writes namespace and slot down on every socket that listens on one of the ports, as bpf/home.bpf.c does on those that are
 * bound later. Throws ERR_LISTENER_HOLDER for one whose process can't be found.
 */
export function noteHomes(
  homes: TypedMap<"homes">,
  netns: NetworkNamespace,
  slot: number,
  ports: readonly number[],
): void {
  using table = new ListeningSockets(netns);
  const { listeners, failure } = takeListeners(
    netns,
    ports.flatMap((port) => table.onPort(port)),
  );
  try {
    for (const { fd } of listeners) homes.set(fd, { netns: netns.cookie(), slot });
  } finally {
    for (const { fd } of listeners) loadAddon().closeFd(fd);
  }
  if (failure) throw failure;
}
