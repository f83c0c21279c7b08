// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from "node:child_process";
import { closeSync, fstatSync, openSync } from "node:fs";
import { type AddressInfo, createServer, Socket } from "node:net";
import { setImmediate } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { ConnectOptions, ListenOptions, NativeAddon } from "../../../src/native/addon.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check, errnoName } from "../../../src/native/status.ts";
import { socketFd } from "../../../src/net/socket-fd.ts";
import { eventually, inChild, openFds, ownNetnsInode } from "../../support/addon-fixture.ts";

const SOL_SOCKET = 1;
const SO_MARK = 36;
const SO_REUSEPORT = 15;
const SOL_IP = 0;
const IP_TRANSPARENT = 19;
const IP_FREEBIND = 15;
const SOL_IPV6 = 41;
const IPV6_V6ONLY = 26;
const IPV6_TRANSPARENT = 75;
const IPV6_FREEBIND = 78;

/** Of the option's structure only the first integer, l_onoff, is read. */
const linger = (fd: number): string => (loadAddon().getSocketOption(fd, SOL_SOCKET, 13) === 0 ? "off" : "on");

describe("sockets", () => {
  const addon: NativeAddon = loadAddon();
  let netns: number;
  const fds: number[] = [];
  beforeAll(() => {
    netns = check(addon.newNetns(true), "newNetns");
  });
  afterAll(() => closeSync(netns));
  afterEach(() => {
    for (const fd of fds.splice(0)) addon.closeFd(fd);
  });

  const own = (fd: number): number => {
    fds.push(check(fd, "fd"));
    return fd;
  };
  const listen = (options: Partial<ListenOptions> = {}) =>
    addon.listen({ address: "127.0.0.1", port: 0, type: "stream", netns, ...options });
  const bindSocket = (options: Partial<ConnectOptions> = {}) =>
    addon.bindSocket({ address: "127.0.0.1", port: 1, netns, ...options });
  const portOf = (fd: number) => check(addon.localAddress(fd), "getsockname").port;
  const connected = (fd: number, address: string, port: number) =>
    new Promise<number>((resolve) => {
      const result = addon.connectSocket(fd, address, port, resolve);
      if (typeof result === "number") resolve(result);
    });

  for (const [family, address] of [
    ["IPv4", "127.0.0.1"],
    ["IPv6", "::1"],
  ] as const) {
    it(`listens and connects over ${family} inside another namespace while this thread stays in its own`, async () => {
      const before = ownNetnsInode();
      expect(fstatSync(netns).ino).not.toBe(before);
      const listener = own(listen({ address }));
      const port = portOf(listener);
      const client = own(bindSocket({ address, port }));
      expect(await connected(client, address, port)).toBe(0);
      expect(addon.remoteAddress(client)).toEqual({ address, port });
      expect(addon.netnsCookie(netns)).not.toBe(addon.netnsCookie(undefined));
      // The same port is free here, so it was not bound here.
      own(listen({ address, port, netns: undefined as unknown as number }));
      expect(ownNetnsInode()).toBe(before);
    });
  }

  it("are adopted by net.Server and net.Socket, which then move bytes", async () => {
    const server = createServer((socket) => socket.pipe(socket));
    const listener = check(listen(), "listen");
    await new Promise<void>((resolve) => server.listen({ fd: listener }, resolve));
    const { port } = server.address() as AddressInfo;
    const fd = check(bindSocket({ port }), "bind");
    expect(await connected(fd, "127.0.0.1", port)).toBe(0);
    const socket = new Socket({ fd, readable: true, writable: true });
    const text = await new Promise<string>((resolve, reject) => {
      let received = "";
      socket
        .setEncoding("utf8")
        .on("data", (data: string) => (received += data))
        .on("end", () => resolve(received))
        .on("error", reject);
      socket.end("through the namespace");
    });
    expect(text).toBe("through the namespace");
    await new Promise((resolve) => server.close(resolve));
  });

  it("carry the options that were asked for", () => {
    const v4 = own(
      listen({
        address: "10.99.99.99",
        mark: 0x80000005,
        reusePort: true,
        reuseAddress: true,
        transparent: true,
        freebind: true,
      }),
    );
    expect(addon.getSocketOption(v4, SOL_SOCKET, SO_MARK)).toBe(0x80000005);
    expect(addon.getSocketOption(v4, SOL_SOCKET, SO_REUSEPORT)).toBe(1);
    expect(addon.getSocketOption(v4, SOL_IP, IP_TRANSPARENT)).toBe(1);
    expect(addon.getSocketOption(v4, SOL_IP, IP_FREEBIND)).toBe(1);
    const v6 = own(listen({ address: "::", v6only: true, transparent: true, freebind: true }));
    expect(addon.getSocketOption(v6, SOL_IPV6, IPV6_V6ONLY)).toBe(1);
    expect(addon.getSocketOption(v6, SOL_IPV6, IPV6_TRANSPARENT)).toBe(1);
    expect(addon.getSocketOption(v6, SOL_IPV6, IPV6_FREEBIND)).toBe(1);
    const dual = own(listen({ address: "::", v6only: false }));
    expect(addon.getSocketOption(dual, SOL_IPV6, IPV6_V6ONLY)).toBe(0);
    expect(addon.setSocketOption(dual, SOL_SOCKET, SO_MARK, 9)).toBe(0);
    expect(addon.getSocketOption(dual, SOL_SOCKET, SO_MARK)).toBe(9);
    const group = own(listen({ reusePort: true }));
    own(listen({ port: portOf(group), reusePort: true }));
    expect(own(listen({ type: "dgram" }))).toBeGreaterThan(2);
  });

  it("are bound to a source before they connect, and the tuple is known in between", async () => {
    const listener = own(listen());
    const client = own(bindSocket({ port: portOf(listener), bindAddress: "127.0.0.6", mark: 5 }));
    const source = check(addon.localAddress(client), "getsockname");
    expect(source).toEqual({ address: "127.0.0.6", port: expect.any(Number) });
    expect(source.port).toBeGreaterThan(0);
    expect(await connected(client, "127.0.0.1", portOf(listener))).toBe(0);
    expect(addon.localAddress(client)).toEqual(source);
    const again = own(bindSocket({ bindPort: source.port, bindAddress: "127.0.0.7" }));
    expect(portOf(again)).toBe(source.port);
    expect(own(bindSocket({ bindAddress: "10.1.2.3", transparent: true }))).toBeGreaterThan(2);
    expect(errnoName(bindSocket({ bindAddress: "10.1.2.3" }))).toBe("EADDRNOTAVAIL");
  });

  for (const [family, source, destinations] of [
    ["IPv4", "127.0.0.6", ["127.0.0.1", "127.0.0.2", "127.0.0.3"]],
    ["IPv6", "::6", ["::1", "::2", "::3"]],
  ] as const) {
    it(`share a local port among destinations over ${family} when the port is chosen at connect`, async () => {
      const small = check(addon.newNetns(true), "newNetns");
      try {
        for (const address of [source, ...destinations].filter((each) => /^::[^1]/.test(each)))
          check(addon.changeAddress(small, true, "lo", address, 128), "changeAddress");
        const setRange = "echo 40000 40007 > /proc/sys/net/ipv4/ip_local_port_range";
        // spawn hands the namespace on as descriptor 3.
        execFileSync("nsenter", ["--net=/proc/self/fd/3", "sh", "-c", setRange], {
          stdio: ["ignore", "inherit", "inherit", small],
        });
        const ports = destinations.map((address) => portOf(own(listen({ address, netns: small, port: 50_000 }))));
        const bind = (bindNoPort: boolean) =>
          bindSocket({ netns: small, address: source, bindAddress: source, bindNoPort });
        const early = Array.from({ length: 8 }, () => own(bind(false)));
        expect(errnoName(bind(false))).toBe("EADDRINUSE");
        for (const fd of early) closeSync(fd);
        fds.splice(-early.length);

        const late = Array.from({ length: 24 }, () => own(bind(true)));
        expect(addon.localAddress(late[0] ?? -1)).toEqual({ address: source, port: 0 });
        const statuses = await Promise.all(
          late.map((fd, i) => connected(fd, destinations[i % 3] ?? "", ports[i % 3] ?? 0)),
        );
        expect(statuses.map((status) => status && errnoName(status))).toEqual(late.map(() => 0));
        const used = late.map((fd) => check(addon.localAddress(fd), "getsockname"));
        expect(new Set(used.map(({ address }) => address))).toEqual(new Set([source]));
        expect(new Set(used.map(({ port }) => port)).size).toBeLessThanOrEqual(8);
      } finally {
        closeSync(small);
      }
    });
  }

  it("linger as told: 0 makes close() a reset, −1 an orderly end, and accepted sockets are as their listener", async () => {
    const listener = check(listen(), "listen");
    const port = portOf(listener);
    expect(addon.setLinger(listener, 0)).toBe(0);
    const server = createServer({ pauseOnConnect: true });
    const accepted: Socket[] = [];
    server.on("connection", (socket) => accepted.push(socket));
    await new Promise<void>((resolve) => server.listen({ fd: listener }, resolve));
    const fate = async (options: Partial<ConnectOptions>, before: (client: number, peer: number) => void) => {
      const client = check(bindSocket({ port, ...options }), "bind");
      const count = accepted.length;
      expect(await connected(client, "127.0.0.1", port)).toBe(0);
      await eventually("accepted", () => accepted.length > count);
      const peer = check(addon.duplicate(socketFd(accepted[count] as Socket)), "dup");
      before(client, peer);
      addon.closeFd(client);
      const error = addon.getSocketOption(peer, SOL_SOCKET, 4);
      addon.closeFd(peer);
      return error === 0 ? "FIN" : errnoName(error);
    };
    const nothing = () => {};
    expect(await fate({}, nothing)).toBe("FIN");
    expect(await fate({ linger: 0 }, nothing)).toBe("ECONNRESET");
    expect(await fate({ linger: 0 }, (client) => expect(addon.setLinger(client, -1)).toBe(0))).toBe("FIN");
    expect(await fate({}, (client) => expect(addon.setLinger(client, 0)).toBe(0))).toBe("ECONNRESET");
    await fate({}, (_, peer) => expect(linger(peer)).toBe("on"));
    expect(addon.setLinger(listener, -1)).toBe(0);
    await fate({}, (_, peer) => expect(linger(peer)).toBe("off"));
    for (const socket of accepted) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
    expect(errnoName(addon.setLinger(-1, 0))).toBe("EBADF");
    for (const seconds of [-2, 3601]) {
      expect(() => addon.setLinger(0, seconds)).toThrow(new TypeError("seconds must be an integer from -1 to 3600"));
    }
    expect(() => bindSocket({ linger: 3601 })).toThrow(new TypeError("linger must be an integer from 0 to 3600"));
  });

  it("report a refused connect with its own error, asynchronously and once", async () => {
    const client = own(bindSocket({ address: "::1" }));
    const seen: number[] = [];
    const result = addon.connectSocket(client, "::1", 1, (status) => seen.push(status));
    expect(seen).toEqual([]);
    if (typeof result === "number") seen.push(result);
    await eventually("the answer", () => seen.length > 0);
    await setImmediate();
    expect(seen.map(errnoName)).toEqual(["ECONNREFUSED"]);
  });

  it("never call back after cancel, and leave the descriptor to the caller", async () => {
    const listener = own(listen());
    const client = own(bindSocket());
    let calls = 0;
    const connect = check(
      addon.connectSocket(client, "127.0.0.1", portOf(listener), () => calls++),
      "connect",
    );
    connect.cancel();
    connect.cancel();
    await setImmediate();
    await setImmediate();
    expect(calls).toBe(0);
    expect(addon.socketCookie(client)).toEqual(expect.any(BigInt));
  });

  it("call back although nobody keeps the connect", () => {
    // A full backlog holds the connects until the server takes over, after the collection; SYNs come again in 1 s.
    const child = inChild(
      `const netns = addon.newNetns(true);
       const listener = addon.listen({ address: "127.0.0.1", port: 0, type: "stream", backlog: 0, netns });
       const { port } = addon.localAddress(listener);
       const answers = [];
       const server = require("net").createServer((socket) => socket.resume());
       for (let i = 0; i < 4; i++) {
         const fd = addon.bindSocket({ address: "127.0.0.1", port, netns });
         addon.connectSocket(fd, "127.0.0.1", port, (status) => { answers.push(status); if (answers.length === 4) process.exit(); });
       }
       const turn = () => new Promise(setImmediate);
       (async () => {
         await turn();
         gc();
         for (let i = 0; i < 5; i++) await turn();
         const early = answers.length;
         process.on("exit", () => process.stdout.write(JSON.stringify({ held: early < 4, answers })));
         server.listen({ fd: listener });
       })();`,
      { flags: ["--expose-gc"] },
    );
    expect(child).toMatchObject({ status: 0, stderr: "" });
    expect(JSON.parse(child.stdout)).toEqual({ held: true, answers: [0, 0, 0, 0] });
  });

  it("have cookies: one for each socket, one for each namespace", () => {
    const first = own(listen());
    const second = own(listen());
    expect(addon.socketCookie(first)).toBe(addon.socketCookie(first));
    expect(addon.socketCookie(first)).not.toBe(addon.socketCookie(second));
    expect(addon.netnsCookie(netns)).toBe(addon.netnsCookie(netns));
    expect(check(addon.netnsCookie(netns), "cookie")).toBeGreaterThan(0n);
  });

  it("name each error", async () => {
    const listener = own(listen());
    expect(errnoName(listen({ port: portOf(listener) }))).toBe("EADDRINUSE");
    expect(errnoName(listen({ address: "10.9.9.9" }))).toBe("EADDRNOTAVAIL");
    expect(errnoName(listen({ address: "localhost" }))).toBe("EINVAL");
    expect(errnoName(listen({ address: "fe80::1%none" }))).toBe("EINVAL");
    expect(errnoName(listen({ netns: -1 }))).toBe("EBADF");
    const file = openSync("/dev/null", "r");
    expect(errnoName(listen({ netns: file }))).toBe("EINVAL");
    expect(errnoName(addon.socketCookie(file) as number)).toBe("ENOTSOCK");
    expect(errnoName(addon.localAddress(file) as number)).toBe("ENOTSOCK");
    closeSync(file);
    expect(errnoName(addon.remoteAddress(listener) as number)).toBe("ENOTCONN");
    expect(errnoName(addon.originalDestination(listener, 4) as number)).toMatch(/^(ENOENT|ENOPROTOOPT|ENOTCONN)$/);
    expect(errnoName(addon.originalDestination(listener, 6) as number)).toMatch(/^(ENOENT|ENOPROTOOPT|EOPNOTSUPP)$/);
    expect(errnoName(addon.setSocketOption(listener, SOL_SOCKET, 9999, 1))).toBe("ENOPROTOOPT");
    expect(errnoName(addon.getSocketOption(listener, SOL_SOCKET, 9999))).toBe("ENOPROTOOPT");
    expect(errnoName(await connected(-1, "127.0.0.1", 1))).toBe("EBADF");
    expect(errnoName(await connected(own(bindSocket()), "203.0.113.1", 1))).toBe("ENETUNREACH");
    expect(errnoName(await connected(own(bindSocket()), "nowhere", 1))).toBe("EINVAL");
    const child = inChild(
      `process.stdout.write(JSON.stringify([addon.newNetns(false),
         addon.listen({ address: "127.0.0.1", port: 0, type: "stream", mark: 1 }),
         addon.listen({ address: "127.0.0.1", port: 0, type: "stream", transparent: true }),
         addon.listen({ address: "127.0.0.1", port: 0, type: "stream", netns: require("fs").openSync("/proc/self/ns/net") }) > 0,
         addon.mount("none", "/mnt", "tmpfs", 0, "")]))`,
      { uid: 65534 },
    );
    expect(JSON.parse(child.stdout)).toEqual([-1, -1, -1, true, -1]);
  });

  it("leave no descriptor behind a failure", () => {
    const before = openFds();
    for (let i = 0; i < 20; i++) {
      listen({ address: "10.9.9.9" });
      bindSocket({ bindAddress: "10.9.9.9" });
      listen({ address: "x" });
    }
    expect(openFds()).toBe(before);
  });

  it("refuse wrong arguments by name", () => {
    expect(() => listen({ port: 65536 })).toThrow(new TypeError("port must be an integer from 0 to 65535"));
    expect(() => listen({ type: "raw" as "stream" })).toThrow(new TypeError('type must be "stream" or "dgram"'));
    expect(() => listen({ mark: -1 })).toThrow(/^mark must be/);
    expect(() => addon.listen(undefined as unknown as ListenOptions)).toThrow(
      new TypeError("options must be an object"),
    );
    expect(() => addon.originalDestination(0, 5 as 4)).toThrow(new TypeError("family must be 4 or 6"));
    const throwing = {
      get address(): string {
        throw new RangeError("mine");
      },
      port: 1,
      type: "stream" as const,
    };
    expect(() => addon.listen(throwing)).toThrow(new RangeError("mine"));
  });
});
