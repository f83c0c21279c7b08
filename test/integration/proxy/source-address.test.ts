// SPDX-License-Identifier: Apache-2.0

import { closeSync, openSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check } from "../../../src/native/status.ts";
import type { Endpoint } from "../../../src/net/endpoint.ts";
import { inNetns } from "../../support/iptables-save.ts";
import { ip, NetLab } from "../../support/net-lab.ts";
import { ProxyRig } from "../../support/proxy-rig.ts";
import { TcpPeer, TcpServer } from "../../support/tcp-peer.ts";

const MARK = 0x539;

describe("the source address that the application sees", () => {
  let lab: NetLab;
  let serverNs: number;
  let clientNs: number;

  beforeAll(() => {
    lab = new NetLab("source");
    serverNs = openSync(lab.server.path, "r");
    clientNs = openSync(lab.client.path, "r");
    ip("-n", lab.server.netns, "addr", "add", "::6/128", "dev", "lo", "nodad");
    // Replies to the client's address come back here: marked as their SYN was, routed as local.
    inNetns(lab.server.path, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/tcp_fwmark_accept");
    for (const [family, all] of [
      ["-4", "0.0.0.0/0"],
      ["-6", "::/0"],
    ] as const) {
      ip(family, "-n", lab.server.netns, "rule", "add", "fwmark", String(MARK), "lookup", "133");
      ip(family, "-n", lab.server.netns, "route", "add", "local", all, "dev", "lo", "table", "133");
    }
  });

  afterAll(() => {
    closeSync(serverNs);
    closeSync(clientNs);
    lab[Symbol.dispose]();
  });

  const addresses = [
    { family: "IPv4", server: () => lab.server.v4, client: () => lab.client.v4, passthrough: "127.0.0.6" },
    { family: "IPv6", server: () => lab.server.v6, client: () => lab.client.v6, passthrough: "::6" },
  ];

  it.each(addresses)("is the pass-through address by default ($family)", async ({ server, passthrough }) => {
    await using app = new TcpServer({ address: server(), netnsFd: serverNs }).echo();
    await using rig = await ProxyRig.start(app, {
      address: server(),
      listenNetnsFd: serverNs,
      netnsFd: serverNs,
      direction: "inbound",
      source: { kind: "passthrough" },
    });
    const client = await TcpPeer.connect({ address: server(), port: rig.port, netnsFd: clientNs });
    client.write("hello");
    expect(String(await client.bytes(5))).toBe("hello");
    expect((await app.accepted.take()).remoteAddress).toBe(passthrough);
    client.end();
    expect(await rig.records.take()).toMatchObject({ direction: "inbound", outcome: "closed" });
  });

  it.each(addresses)(
    "is the client's when it is to be preserved, and the flow is noted for as long as it takes ($family)",
    async ({ server, client }) => {
      await using app = new TcpServer({ address: server(), netnsFd: serverNs }).echo();
      const noted: { local: Endpoint; remote: Endpoint }[] = [];
      let forgotten = 0;
      await using rig = await ProxyRig.start(app, {
        address: server(),
        listenNetnsFd: serverNs,
        netnsFd: serverNs,
        direction: "inbound",
        source: { kind: "preserve" },
        mark: MARK,
        noteOwnFlow: (local, remote) => {
          noted.push({ local, remote });
          return { [Symbol.dispose]: () => forgotten++ };
        },
      });
      const peer = await TcpPeer.connect({ address: server(), port: rig.port, netnsFd: clientNs });
      peer.write("hello");
      expect(String(await peer.bytes(5))).toBe("hello");
      const accepted = await app.accepted.take();
      expect(accepted.remoteAddress).toBe(client());
      expect(noted).toEqual([
        { local: { address: client(), port: accepted.remotePort }, remote: { address: server(), port: app.port } },
      ]);
      expect(forgotten).toBe(1);
      peer.end();
      expect(await rig.records.take()).toMatchObject({ outcome: "closed" });
    },
  );

  it("is the pass-through address for a client that calls itself, although it is to be preserved", async () => {
    await using app = new TcpServer({ address: lab.server.v4, netnsFd: serverNs }).echo();
    await using rig = await ProxyRig.start(app, {
      address: lab.server.v4,
      listenNetnsFd: serverNs,
      netnsFd: serverNs,
      source: { kind: "preserve" },
      mark: MARK,
    });
    const client = await TcpPeer.connect({ address: lab.server.v4, port: rig.port, netnsFd: serverNs });
    client.write("hello");
    await client.bytes(5);
    expect((await app.accepted.take()).remoteAddress).toBe("127.0.0.6");
  });

  it("cannot be bound when nobody has added ::6, and the record says so", async () => {
    const netnsFd = check(loadAddon().newNetns(true), "newNetns");
    try {
      await using app = new TcpServer({ address: "::1", netnsFd }).echo();
      await using rig = await ProxyRig.start(app, { netnsFd, source: { kind: "passthrough" } });
      expect(await rig.fateOfClient()).toBe("ECONNRESET");
      expect(await rig.records.take()).toMatchObject({ outcome: "connect-failed", detail: "socket: EADDRNOTAVAIL" });
    } finally {
      loadAddon().closeFd(netnsFd);
    }
  });
});
