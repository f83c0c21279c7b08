// SPDX-License-Identifier: Apache-2.0
// tsx scripts/fetch-peers.ts [haproxy|redsocks|envoy|nginx …]: fills the cache that the tests of foreign proxies and `shunt bench` use.
import { type PeerName, peerBinary, peerNames } from "../test/support/peers.ts";

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !peerNames.some((known) => known === name));
if (unknown.length > 0) {
  process.stderr.write(`unknown peer ${unknown.join(", ")}; there are ${peerNames.join(", ")}\n`);
  process.exit(2);
}
const wanted: readonly PeerName[] = asked.length === 0 ? peerNames : peerNames.filter((name) => asked.includes(name));
for (const name of wanted) {
  const peer = await peerBinary(name);
  process.stdout.write(`${name}: ${peer.ok ? `${peer.command} (${peer.version})` : `not available: ${peer.reason}`}\n`);
  if (!peer.ok) process.exitCode = 69;
}
