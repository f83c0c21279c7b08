// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ExternalProxy } from "../../support/external-proxy.ts";
import { ask, type LabProcess } from "../../support/lab-process.ts";
import { redsocksConfig } from "../../support/peer-configs.ts";
import {
  askAll,
  loggedPlaces,
  OUTBOUND_ONLY,
  outboundCounters,
  peerPair,
  places,
  silenceGetsockopt,
} from "../../support/peer-rig.ts";
import { peerBinary } from "../../support/peers.ts";
import type { PodPair } from "../../support/pod-pair.ts";

const peer = await peerBinary("redsocks");
const missing = peer.ok ? "" : ` (skipped: ${peer.reason})`;
const SOCKS_PORT = 1080;
const REQUEST = /^connect (\S+) (\d+)$/;

describe.skipIf(!peer.ok)(`redsocks${missing}`, () => {
  /** The SOCKS5 server is in the other namespace: what it connects to must have come through redsocks. */
  const start = async (pair: PodPair): Promise<{ proxy: ExternalProxy; socks: LabProcess }> => {
    if (!peer.ok) throw new Error(peer.reason);
    const { client, server } = pair.lab;
    const program = join(import.meta.dirname, "../../support/programs/socks5.py");
    const socks = await pair.processes.start(["python3", program, server.v4, String(SOCKS_PORT)], server.path);
    const proxy = await ExternalProxy.start({
      peer,
      netns: client.path,
      config: redsocksConfig({ address: server.v4, port: SOCKS_PORT }),
      args: (file) => ["-c", file],
      ports: [15001],
    });
    return { proxy, socks };
  };
  const requests = (socks: LabProcess): unknown =>
    loggedPlaces({ logged: (pattern) => socks.lines.filter((line) => pattern.test(line)) }, REQUEST);

  it("asks its SOCKS5 server for the addresses the connections were meant for", async () => {
    await using pair = await peerPair({ client: OUTBOUND_ONLY });
    const { proxy, socks } = await start(pair);
    await using _ended = proxy;
    const asked = places(pair, 4);
    // The SOCKS5 server makes the connections: from its own address.
    const from = asked.map(() => pair.lab.server.v4);
    expect(await askAll(pair, asked)).toEqual({ reached: asked, seen: asked, from });
    expect(requests(socks)).toEqual(asked);
    expect(await outboundCounters(pair)).toMatchObject({ "all-included": asked.length, "own-traffic": asked.length });
  });

  it("doesn't know where a redirected connection was meant to go without the getsockopt program", async () => {
    await using pair = await peerPair({ client: OUTBOUND_ONLY });
    const { proxy, socks } = await start(pair);
    await using _ended = proxy;
    silenceGetsockopt(pair);
    for (const { address, port } of places(pair, 4))
      expect(await ask("python", pair.lab.client.path, address, port)).toHaveProperty("error");
    expect(requests(socks)).toEqual([]);
    const counters = await outboundCounters(pair);
    expect(counters).toMatchObject({ "all-included": places(pair, 4).length });
    expect(counters["own-traffic"] ?? 0).toBe(0);
  });

  it("knows no destination and sees no traffic once Shunt is gone", async () => {
    await using pair = await peerPair({ client: OUTBOUND_ONLY });
    const { proxy, socks } = await start(pair);
    await using _ended = proxy;
    await pair.agent.stop();
    const asked = places(pair, 4);
    expect((await askAll(pair, asked)).reached).toEqual(asked);
    expect(await ask("python", pair.lab.client.path, "127.0.0.1", 15001)).toHaveProperty("error");
    expect(requests(socks)).toEqual([]);
  });
});
