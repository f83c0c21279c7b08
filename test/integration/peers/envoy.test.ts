// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { ExternalProxy } from "../../support/external-proxy.ts";
import { ask } from "../../support/lab-process.ts";
import { envoyConfig } from "../../support/peer-configs.ts";
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

const peer = await peerBinary("envoy");
const missing = peer.ok ? "" : ` (skipped: ${peer.reason})`;
const OUTBOUND = /^outbound (\S+) (\d+) -> /;
const INBOUND = /^inbound (\S+) (\d+) -> /;
const LOOPBACK = { v4: "127.0.0.1", v6: "::1" };
const ANY = { v4: "0.0.0.0", v6: "::" };

describe.skipIf(!peer.ok)(`Envoy with original_dst${missing}`, () => {
  const start = (netns: string, inbound = ANY): Promise<ExternalProxy> => {
    if (!peer.ok) throw new Error(peer.reason);
    // Two workers, so that every listener is a reuseport group.
    const flags = ["--concurrency", "2", "--disable-hot-restart", "--file-flush-interval-msec", "10", "-l", "warning"];
    const args = (file: string): string[] => ["-c", file, ...flags];
    return ExternalProxy.start({ peer, netns, config: envoyConfig(inbound), args, ports: [15001, 15006] });
  };

  it.each([4, 6] as const)(
    "leads IPv%i connections where they were meant to go, and its own past itself",
    async (family) => {
      await using pair = await peerPair({ client: OUTBOUND_ONLY });
      await using proxy = await start(pair.lab.client.path);
      const asked = places(pair, family);
      expect(await askAll(pair, asked)).toMatchObject({ reached: asked, seen: asked });
      await expect.poll(() => loggedPlaces(proxy, OUTBOUND)).toEqual(asked);
      expect(await outboundCounters(pair)).toMatchObject({ "all-included": asked.length, "own-traffic": asked.length });
    },
  );

  it("leads connections of an IPv6 socket to a v4-mapped address", async () => {
    await using pair = await peerPair({ client: OUTBOUND_ONLY });
    await using proxy = await start(pair.lab.client.path);
    const { client, server } = pair.lab;
    const mapped = `::ffff:${server.v4}`;
    expect(await ask("python", client.path, mapped, 8080)).toMatchObject({
      local: [mapped, 8080],
      peer: [mapped, 8080],
    });
    await expect.poll(() => loggedPlaces(proxy, OUTBOUND)).toEqual([{ address: server.v4, port: 8080 }]);
  });

  it.each([
    [4, LOOPBACK, "127.0.0.6"],
    [6, LOOPBACK, "::6"],
    [4, ANY, "127.0.0.6"],
    [6, ANY, "::6"],
  ] as const)(
    "takes inbound IPv%i connections, listening on %j, and passes them on from %s",
    async (family, listening, source) => {
      await using pair = await peerPair({ server: INBOUND_ONLY });
      await using proxy = await start(pair.lab.server.path, listening);
      await serverStatus(pair, ({ problem }) => problem === undefined);
      const asked = places(pair, family);
      const answers = await askAll(pair, asked);
      expect(answers, proxy.output).toEqual({ reached: asked, seen: asked, from: asked.map(() => source) });
      await expect.poll(() => loggedPlaces(proxy, INBOUND)).toEqual(asked);
    },
  );

  it("may come late and restart; while it is away status says so and connections are refused", async () => {
    await using pair = await peerPair({ server: INBOUND_ONLY });
    const { client, server } = pair.lab;
    const problem = `inbound: no proxy listens on port 15006 in ${server.path}`;
    for (let life = 0; life < 2; life++) {
      expect(await serverStatus(pair, (status) => status.problem === problem)).toMatchObject({ listeners: [] });
      expect(await ask("python", client.path, server.v4, 80)).toEqual({ error: "ConnectionRefusedError" });
      await using proxy = await start(server.path);
      const { listeners } = await serverStatus(pair, (status) => status.problem === undefined);
      expect(listeners.map(({ address }) => address)).toEqual(["0.0.0.0:15006", "[::]:15006"]);
      expect(await ask("python", client.path, server.v4, 80)).toMatchObject({ client: "::ffff:127.0.0.6" });
      await expect.poll(() => proxy.logged(INBOUND)).toHaveLength(1);
    }
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

  it("sees no traffic once Shunt is gone", async () => {
    await using pair = await peerPair({ client: OUTBOUND_ONLY, server: INBOUND_ONLY });
    await using outbound = await start(pair.lab.client.path);
    await using inbound = await start(pair.lab.server.path);
    await pair.agent.stop();
    const asked = [...places(pair, 4), ...places(pair, 6)];
    const { v4, v6 } = pair.lab.client;
    const from = asked.map(({ address }) => (address.includes(":") ? v6 : v4));
    expect(await askAll(pair, asked)).toEqual({ reached: asked, seen: asked, from });
    expect(await ask("python", pair.lab.client.path, "127.0.0.1", 15001)).toHaveProperty("error");
    expect(
      [...outbound.logged(OUTBOUND), ...inbound.logged(INBOUND)].filter((line) => !line.includes(" 15001 ")),
    ).toEqual([]);
  });
});
