// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ExternalProxy } from "../../support/external-proxy.ts";
import { ask } from "../../support/lab-process.ts";
import { askAll, INBOUND_ONLY, peerPair, places, serverStatus } from "../../support/peer-rig.ts";
import type { PodPair } from "../../support/pod-pair.ts";

const PROGRAM = join(import.meta.dirname, "../../support/programs/inbound_listener.py");
/** More than the kernel's map has places for. */
const SOCKETS = 12;

describe("a listener of another process on the inbound port", () => {
  const start = (pair: PodPair): Promise<ExternalProxy> =>
    ExternalProxy.start({
      peer: { ok: true, command: "python3", env: {}, version: "" },
      netns: pair.lab.server.path,
      config: "",
      args: () => [PROGRAM, "15006", String(SOCKETS)],
      ports: [15006],
    });

  it("gets the connections of both families when it listens on ::, in a group of any size", async () => {
    await using pair = await peerPair({ server: INBOUND_ONLY });
    await using proxy = await start(pair);
    const { listeners } = await serverStatus(pair, ({ problem }) => problem === undefined);
    expect(listeners.map(({ address }) => address)).toEqual(["[::]:15006"]);
    for (const family of [4, 6] as const) {
      const asked = places(pair, family);
      const { v4, v6 } = pair.lab.client;
      const from = asked.map(() => (family === 4 ? v4 : v6));
      expect(await askAll(pair, asked)).toEqual({ reached: asked, seen: asked, from });
    }
    expect(proxy.output).toBe("");
  });

  it("learns the original destination from getsockopt as well", async () => {
    await using pair = await peerPair({ server: INBOUND_ONLY });
    await using _proxy = await start(pair);
    await serverStatus(pair, ({ problem }) => problem === undefined);
    const { client, server } = pair.lab;
    const port = 8080;
    for (const [address, told] of [
      [server.v4, `::ffff:${server.v4}`],
      [server.v6, server.v6],
    ] as const) {
      const { local, ...answer } = await ask("python", client.path, address, port);
      expect(local).toEqual([told, port]);
      const original = (answer as { original?: readonly [string, number] }).original;
      expect(original?.[1]).toBe(port);
      expect(samePlace(original?.[0] ?? "", told)).toBe(true);
    }
  });

  it("gets the first connection after it began to listen, however soon that comes", async () => {
    await using pair = await peerPair({ server: INBOUND_ONLY });
    for (const family of [4, 6] as const) {
      await using proxy = await start(pair);
      const { server, client } = pair.lab;
      const answer = await ask("python", client.path, family === 4 ? server.v4 : server.v6, 80);
      expect(Number(answer.server)).toBe(proxy.process.child.pid);
    }
  });

  it("is joined by another process before it ends, and no connection is refused", async () => {
    await using pair = await peerPair({ server: INBOUND_ONLY });
    const found = (pid: number): Promise<unknown> =>
      pair.agent.waitForLog(
        ({ msg, pids }) => msg === "inbound listeners found" && Array.isArray(pids) && pids.includes(pid),
      );
    const serverPid = async (): Promise<number> =>
      Number((await ask("python", pair.lab.client.path, pair.lab.server.v6, 80)).server);
    await using second = await (async () => {
      await using first = await start(pair);
      await found(first.process.child.pid ?? 0);
      expect(await serverPid()).toBe(first.process.child.pid);
      const next = await start(pair);
      await found(next.process.child.pid ?? 0);
      return next;
    })();
    expect(await serverPid()).toBe(second.process.child.pid);
  });
});

/** Python writes v4-mapped addresses in hexadecimal. */
function samePlace(left: string, right: string): boolean {
  return new URL(`http://[${left}]`).hostname === new URL(`http://[${right}]`).hostname;
}
