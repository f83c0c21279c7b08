// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { eventually } from "../../support/inbox.ts";
import { ProxyRig } from "../../support/proxy-rig.ts";
import { silentListener, TcpServer } from "../../support/tcp-peer.ts";

describe("a reset", () => {
  it("by the server is a reset for the client", async () => {
    await using server = new TcpServer();
    await using rig = await ProxyRig.start(server);
    const client = await rig.connect();
    const app = await server.accepted.take();
    client.read().write("hello");
    await app.bytes(5);
    app.reset();
    expect(await client.fate).toBe("ECONNRESET");
    expect(await rig.records.take()).toMatchObject({
      outcome: "reset-by-upstream",
      detail: "ECONNRESET",
      bytesReceived: 5,
    });
  });

  it("by the client is a reset for the server", async () => {
    await using server = new TcpServer();
    await using rig = await ProxyRig.start(server);
    const client = await rig.connect();
    const app = await server.accepted.take();
    app.write("hello");
    await client.bytes(5);
    app.read();
    client.reset();
    expect(await app.fate).toBe("ECONNRESET");
    expect(await rig.records.take()).toMatchObject({
      outcome: "reset-by-downstream",
      detail: "ECONNRESET",
      bytesSent: 5,
    });
  });

  it.each(["client", "server"])("right behind the last data of a %s is not taken for an orderly end", async (who) => {
    await using server = new TcpServer();
    await using rig = await ProxyRig.start(server);
    const client = await rig.connect();
    const app = await server.accepted.take();
    const [sender, reader] = who === "client" ? [client, app] : [app, client];
    reader.read();
    sender.write("truncat");
    sender.reset();
    expect(await reader.fate).toBe("ECONNRESET");
    expect(await rig.records.take()).toMatchObject({
      outcome: who === "client" ? "reset-by-downstream" : "reset-by-upstream",
      detail: "ECONNRESET",
    });
  });

  it("of a connection that one side has ended reaches that side too", async () => {
    await using server = new TcpServer();
    await using rig = await ProxyRig.start(server);
    const client = await rig.connect();
    client.read().end();
    const app = await server.accepted.take();
    await app.toEnd();
    app.reset();
    expect(await client.fate).toBe("ECONNRESET");
    expect(await rig.records.take()).toMatchObject({ outcome: "reset-by-upstream" });
  });

  it("that comes while the other side takes no data is passed on though data is queued", async () => {
    await using server = new TcpServer();
    await using rig = await ProxyRig.start(server);
    const client = await rig.connect();
    const app = await server.accepted.take();
    // More than every buffer on the way; the client does not read.
    app.read().write(randomBytes(40_000_000));
    await eventually(() => client.socket.readableLength > 0 || rig.runtime.connections().length === 1);
    client.reset();
    expect(["ECONNRESET", "EPIPE"]).toContain(await app.fate);
    expect(await rig.records.take()).toMatchObject({ outcome: "reset-by-downstream" });
  });

  it("follows for a server that writes to a client which closed for good after half-closing", async () => {
    await using server = new TcpServer();
    await using rig = await ProxyRig.start(server);
    const client = await rig.connect();
    const app = await server.accepted.take();
    client.socket.destroy();
    await app.toEnd();
    app.read().write("anybody?");
    await eventually(() => {
      app.write("anybody?");
      return app.socket.destroyed;
    });
    expect(["ECONNRESET", "EPIPE"]).toContain(await app.fate);
    expect(await rig.records.take()).toMatchObject({ outcome: "reset-by-downstream" });
  });

  it("by a client that waits for its connection ends the attempt upstream", async () => {
    using nobody = await silentListener();
    await using rig = await ProxyRig.start(nobody);
    const client = await rig.connect();
    await rig.opened.take();
    client.reset();
    expect(await rig.records.take()).toMatchObject({
      outcome: "reset-by-downstream",
      upstream: `127.0.0.1:${nobody.port}`,
      bytesReceived: 0,
    });
    expect(rig.runtime.stats().active).toBe(0);
  });
});

describe("a client that sends and resets before there is a connection upstream", () => {
  // Node 20 stops at the data and finds the reset later; Node 24 reads on to the reset and throws the data away.
  it("is a reset: for the server with the data before it, or there never is a connection upstream", async () => {
    using busy = await silentListener();
    await using rig = await ProxyRig.start(busy);
    const client = await rig.connect();
    await rig.opened.take();
    client.write("early");
    client.reset();
    // Makes room, so that the next SYN is answered.
    await using server = busy.wake();
    await server.accepted.take();
    const { outcome, bytesReceived } = await rig.records.take();
    expect(outcome).toBe("reset-by-downstream");
    if (bytesReceived === 0) {
      expect(rig.runtime.stats().active).toBe(0);
      return;
    }
    expect(bytesReceived).toBe(5);
    const app = await server.accepted.take();
    app.read();
    expect(await app.fate).toBe("ECONNRESET");
  });
});

describe("no connection upstream", () => {
  it("is a reset for the client, and the record has the errno", async () => {
    let port: number;
    {
      await using closed = new TcpServer();
      port = closed.port;
    }
    await using rig = await ProxyRig.start({ address: "127.0.0.1", port });
    expect(await rig.fateOfClient()).toBe("ECONNRESET");
    expect(await rig.records.take()).toMatchObject({
      outcome: "connect-failed",
      detail: "connect: ECONNREFUSED",
      originalDestination: `127.0.0.1:${port}`,
      upstream: `127.0.0.1:${port}`,
    });
  });

  it("for want of a route says so", async () => {
    const netnsFd = loadAddon().newNetns(true);
    try {
      await using rig = await ProxyRig.start({ address: "192.0.2.1", port: 80 }, { netnsFd });
      expect(await rig.fateOfClient()).toBe("ECONNRESET");
      expect(await rig.records.take()).toMatchObject({ outcome: "connect-failed", detail: "connect: ENETUNREACH" });
    } finally {
      loadAddon().closeFd(netnsFd);
    }
  });

  it("within the connect timeout is a timeout", async () => {
    using nobody = await silentListener();
    await using rig = await ProxyRig.start(nobody, { connectTimeoutMs: 150 });
    const client = await rig.connect();
    client.read().write("early");
    expect(await client.fate).toBe("ECONNRESET");
    const record = await rig.records.take();
    expect(record).toMatchObject({ outcome: "timeout", detail: "no connection within 150 ms" });
    expect(record.durationMs).toBeGreaterThanOrEqual(150);
  });
});

describe("a refusal", () => {
  it("meets a connection whose original destination nobody knows", async () => {
    await using rig = await ProxyRig.start(undefined, { interception: "iptables" });
    expect(await rig.fateOfClient()).toBe("ECONNRESET");
    expect(await rig.records.take()).toMatchObject({
      outcome: "refused",
      detail: "the original destination is not known",
      originalDestination: null,
      upstream: null,
      interception: "iptables",
    });
    expect(rig.opened.all).toEqual([]);
  });

  it("meets a connection that was meant for the proxy's own port", async () => {
    const destination = { address: "127.0.0.1", port: 0 };
    await using rig = await ProxyRig.start(destination);
    destination.port = rig.port;
    expect(await rig.fateOfClient()).toBe("ECONNRESET");
    expect(await rig.records.take()).toMatchObject({
      outcome: "refused",
      detail: `port ${rig.port} is the proxy's own`,
      originalDestination: `127.0.0.1:${rig.port}`,
      upstream: null,
    });
  });

  it("and not the end of the thread is the answer to a lookup that throws", async () => {
    await using rig = await ProxyRig.start(undefined, {
      lookup: () => {
        throw new Error("map is gone");
      },
    });
    expect(await rig.fateOfClient()).toBe("ECONNRESET");
    expect(await rig.records.take()).toMatchObject({ outcome: "refused", detail: "Error: map is gone" });
  });
});
