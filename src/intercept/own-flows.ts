// SPDX-License-Identifier: Apache-2.0
import type { SocketAddress } from "../native/addon.ts";
import { mapFromFd } from "./map-from-fd.ts";

/** The map `own_flows` as plain data; the fd stays the sender's, `netnsCookie` is decimal. */
export interface OwnFlowsSource {
  readonly ownFlowsFd: number;
  readonly netnsCookie: string;
}

/** Tells sk_lookup that the connection from `local` to `remote` is the proxy's own, until the note is disposed of. */
export interface OwnFlowNoter extends Disposable {
  (local: SocketAddress, remote: SocketAddress): Disposable;
}

/**
 * A connection made with the client's address looks like the client's: only its tuple tells it apart. Throws
 * SystemError when the map is full.
 */
export function createOwnFlowNoter(source: OwnFlowsSource): OwnFlowNoter {
  const flows = mapFromFd("own_flows", source.ownFlowsFd);
  const netns = BigInt(source.netnsCookie);
  return Object.assign(
    (local: SocketAddress, remote: SocketAddress) => {
      // As the accepting application sees it: our local end is its remote one.
      const key = {
        netns,
        remote: local.address,
        local: remote.address,
        remotePort: local.port,
        localPort: remote.port,
      };
      // CLOCK_MONOTONIC, as the programs have it: a note that nobody took back does not count for ever.
      flows.set(key, process.hrtime.bigint());
      return { [Symbol.dispose]: () => void flows.delete(key) };
    },
    { [Symbol.dispose]: () => flows.close() },
  );
}
