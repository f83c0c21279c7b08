// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check, errnoName } from "../../../src/native/status.ts";
import { Carrier } from "../../../src/net/carrier.ts";
import { listeningOn, makeListenSocket } from "../../../src/net/listen-socket.ts";
import { addonPath, patience } from "../../support/addon-fixture.ts";
import { Inbox } from "../../support/inbox.ts";
import { silentListener, TcpPeer, TcpServer } from "../../support/tcp-peer.ts";

/** What a program prints that may have so many descriptors. */
function withDescriptors(most: number, code: string): string {
  const argv = [`--nofile=${most}`, "--", process.execPath, "-e", code];
  return execFileSync("prlimit", argv, { encoding: "utf8", timeout: 20_000 * patience });
}

describe("a carrier", () => {
  const addon = loadAddon();
  const callbacks = {
    onAccept: () => {},
    onAcceptError: () => {},
    onConnected: () => {},
    onConnectFailed: () => {},
    onFailed: () => {},
    onLasting: () => {},
    onFinished: () => {},
  };
  let netns: number;
  beforeAll(() => {
    netns = check(addon.newNetns(true), "newNetns");
  });
  afterAll(() => closeSync(netns));

  it("takes no descriptor that does not listen, and leaves it to its owner", () => {
    using carrier = new Carrier();
    const acceptor = { accept: () => {}, onAcceptError: () => {} };
    const socket = check(addon.bindSocket({ address: "127.0.0.1", port: 1, netns }), "socket");
    expect(() => carrier.listen(socket, acceptor)).toThrow(expect.objectContaining({ errnoName: "EINVAL" }));
    expect(addon.closeFd(socket)).toBe(0);
    const file = openSync("/dev/null", "r");
    expect(() => carrier.listen(file, acceptor)).toThrow(expect.objectContaining({ errnoName: "ENOTSOCK" }));
    closeSync(file);
  });

  it("refuses connections, routes and sides that there are not, and everything once it is closed", () => {
    expect(() => addon.createCarrier({ ...callbacks, onLasting: 1 as never })).toThrow(
      new TypeError("onLasting must be a function"),
    );
    const carrier = check(addon.createCarrier(callbacks), "createCarrier");
    for (const use of [
      () => carrier.start(0),
      () => carrier.look(7),
      () => carrier.release(0),
      () => carrier.open(0, 1),
      () => carrier.take(0),
    ])
      expect(use).toThrow(new TypeError("connection must be one that has not been released"));
    expect(() => carrier.addRoute({ family: 5 as never })).toThrow(new TypeError("family must be 4 or 6"));
    expect(() => carrier.addRoute({ family: 4, source: "::1" })).toThrow(
      new TypeError("source must be an address of the family"),
    );
    carrier.close();
    carrier.close();
    expect(() => carrier.look(0)).toThrow(expect.objectContaining({ code: "ERR_HANDLE_CLOSED" }));
  });

  it("resets what it carries when it closes, established or not", async () => {
    await using server = new TcpServer();
    using nobody = await silentListener();
    const open = (target: { address: string; port: number }) => {
      const carrier = new Carrier();
      const state = new Inbox<string>();
      const fd = makeListenSocket({ address: "127.0.0.1", port: 0 });
      check(addon.setLinger(fd, 0), "setLinger");
      const routes = carrier.routes(undefined, undefined);
      carrier.listen(fd, {
        accept: (connection) => {
          connection.attach({
            onConnected: () => connection.start(),
            onConnectFailed: () => {},
            onFailed: () => {},
            onLasting: () => {},
            onFinished: () => {},
          });
          const result = connection.connect(routes, target, () => {});
          if (result === true) connection.start();
          state.push(result === true ? "established" : "under way");
        },
        onAcceptError: () => {},
      });
      return { carrier, state, ...listeningOn(fd) };
    };
    const established = open(server);
    const client = await TcpPeer.connect(established);
    expect(await established.state.take()).toBe("established");
    const app = await server.accepted.take();
    const waiting = open(nobody);
    const early = await TcpPeer.connect(waiting);
    expect(await waiting.state.take()).toBe("under way");
    established.carrier[Symbol.dispose]();
    waiting.carrier[Symbol.dispose]();
    for (const peer of [client.read(), app.read(), early.read()]) expect(await peer.fate).toBe("ECONNRESET");
  });

  it("says that descriptors are used up, resets who cannot be taken in, and accepts again when there are some", () => {
    const said = withDescriptors(
      100,
      `process.stdout; // Opened before descriptors run out.
      const addon = require(${JSON.stringify(addonPath)});
      const fs = require("fs"), net = require("net");
      const fd = addon.listen({ address: "127.0.0.1", port: 0, type: "stream" });
      addon.setLinger(fd, 0);
      const { port } = addon.localAddress(fd);
      const seen = [];
      const nothing = () => {};
      const hoard = [];
      const carrier = addon.createCarrier({
        onAccept: (listener, connection) => { seen.push("accepted"); carrier.release(connection); carrier.close(); },
        onAcceptError: (listener, status) => seen.push(status),
        onConnected: nothing, onConnectFailed: nothing, onFailed: nothing, onLasting: nothing,
        onFinished: nothing,
      });
      carrier.listen(1, fd);
      const dial = (then) => {
        const socket = net.connect(port, "127.0.0.1");
        socket.on("error", (error) => seen.push(error.code));
        socket.on("close", then);
      };
      dial(() => {
        for (const held of hoard) fs.closeSync(held);
        dial(() => console.log(JSON.stringify(seen)));
      });
      // The client's own descriptor is there by now, and the server's will not be.
      process.nextTick(() => { try { for (;;) hoard.push(fs.openSync("/dev/null")); } catch {} });`,
    );
    const [status, client, ...rest] = JSON.parse(said) as [number, string, ...string[]];
    expect(errnoName(status)).toBe("EMFILE");
    expect(client).toBe("ECONNRESET");
    expect(rest).toEqual(["accepted", "ECONNRESET"]);
  });
});
