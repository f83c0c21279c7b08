// SPDX-License-Identifier: Apache-2.0
import type { SocketAddress } from "../native/addon.ts";
import { mapFromFd } from "./map-from-fd.ts";

/**
 * Which namespace's interception has let the proxy's connection from `local` to `remote` pass its own proxy, by the
 * namespace's cookie; undefined where none of this agent's has.
 */
export interface HopLookup extends Disposable {
  (local: SocketAddress, remote: SocketAddress): bigint | undefined;
}

/** `hopsFd` stays the caller's. */
export function createHopLookup({ hopsFd }: { readonly hopsFd: number }): HopLookup {
  const hops = mapFromFd("hops", hopsFd);
  return Object.assign(
    (local: SocketAddress, remote: SocketAddress) => {
      // As the accepting application sees it: our local end is its remote one.
      const hop = hops.get({
        netns: 0n,
        remote: local.address,
        local: remote.address,
        remotePort: local.port,
        localPort: remote.port,
      });
      return hop === undefined || hop.slot === 0 ? undefined : hop.netns;
    },
    { [Symbol.dispose]: () => hops.close() },
  );
}
