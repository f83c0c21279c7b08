// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { ExternalProxy } from "../../support/external-proxy.ts";
import { ask } from "../../support/lab-process.ts";
import { HAPROXY_CONFIG } from "../../support/peer-configs.ts";
import {
  askAll,
  INBOUND_ONLY,
  loggedPlaces,
  OUTBOUND_ONLY,
  outboundCounters,
  peerPair,
  places,
  serverStatus,
  silenceGetsockopt,
} from "../../support/peer-rig.ts";
import { peerBinary } from "../../support/peers.ts";

const peer = await peerBinary("haproxy");
const missing = peer.ok ? "" : ` (skipped: ${peer.reason})`;
const OUTBOUND = /^outbound (\S+) (\d+)$/;
const INBOUND = /^inbound (\S+) (\d+)$/;

describe.skipIf(!peer.ok)(`HAProxy with option transparent${missing}`, () => {
  const start = (netns: string): Promise<ExternalProxy> => {
    if (!peer.ok) throw new Error(peer.reason);
    const args = (file: string): string[] => ["-db", "-f", file];
    return ExternalProxy.start({ peer, netns, config: HAPROXY_CONFIG, args, ports: [15001, 15006] });
  };

  it("leads IPv4 connections where they were meant to go, and its own past itself", async () => {
    await using pair = await peerPair({ client: OUTBOUND_ONLY });
    await using proxy = await start(pair.lab.client.path);
    const asked = places(pair, 4);
    expect(await askAll(pair, asked)).toMatchObject({ reached: asked, seen: asked });
    await expect.poll(() => loggedPlaces(proxy, OUTBOUND)).toEqual(asked);
    expect(await outboundCounters(pair)).toMatchObject({ "all-included": asked.length, "own-traffic": asked.length });
  });

  it("asks for no original destination of IPv6 connections, which it rejects without looping", async () => {
    await using pair = await peerPair({ client: OUTBOUND_ONLY });
    await using _proxy = await start(pair.lab.client.path);
    expect(await ask("python", pair.lab.client.path, pair.lab.server.v6, 80)).toHaveProperty("error");
    const counters = await outboundCounters(pair);
    expect(counters).toMatchObject({ "all-included": 1 });
    expect(counters["own-traffic"] ?? 0).toBe(0);
  });

  it.each([
    [4, "127.0.0.6"],
    [6, "::6"],
  ] as const)("takes inbound IPv%i connections and passes them on from %s", async (family, source) => {
    await using pair = await peerPair({ server: INBOUND_ONLY });
    await using proxy = await start(pair.lab.server.path);
    await serverStatus(pair, ({ problem }) => problem === undefined);
    const asked = places(pair, family);
    expect(await askAll(pair, asked)).toEqual({ reached: asked, seen: asked, from: asked.map(() => source) });
    await expect.poll(() => loggedPlaces(proxy, INBOUND)).toEqual(asked);
  });

  it("doesn't know where a redirected connection was meant to go without the getsockopt program", async () => {
    await using pair = await peerPair({ client: OUTBOUND_ONLY });
    await using _proxy = await start(pair.lab.client.path);
    silenceGetsockopt(pair);
    for (const { address, port } of places(pair, 4))
      expect(await ask("python", pair.lab.client.path, address, port)).toHaveProperty("error");
    const counters = await outboundCounters(pair);
    expect(counters).toMatchObject({ "all-included": places(pair, 4).length });
    expect(counters["own-traffic"] ?? 0).toBe(0);
  });

  it("knows no destination and sees no traffic once Shunt is gone", async () => {
    await using pair = await peerPair({ client: OUTBOUND_ONLY });
    await using proxy = await start(pair.lab.client.path);
    await pair.agent.stop();
    const asked = places(pair, 4);
    expect((await askAll(pair, asked)).reached).toEqual(asked);
    expect(await ask("python", pair.lab.client.path, "127.0.0.1", 15001)).toHaveProperty("error");
    expect(proxy.logged(OUTBOUND)).toEqual([]);
  });
});
