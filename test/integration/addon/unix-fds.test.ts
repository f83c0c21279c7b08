// SPDX-License-Identifier: Apache-2.0
import { spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, readlinkSync, readSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check, errnoName } from "../../../src/native/status.ts";
import { inChild, openFds } from "../../support/addon-fixture.ts";

/** Node keeps a socket's descriptor on its handle only. */
const fdOf = (socket: Socket): number => (socket as unknown as { _handle: { fd: number } })._handle.fd;

describe("descriptors over a unix socket", () => {
  const addon = loadAddon();
  let directory: string;
  let left: Socket;
  let right: Socket;
  let close: () => void;
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), `shunt-test-${process.pid}-`));
    const path = join(directory, "s");
    const server = createServer({ pauseOnConnect: true });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const accepted = new Promise<Socket>((resolve) => server.once("connection", resolve));
    left = connect(path).pause();
    right = await accepted;
    close = () => {
      left.destroy();
      right.destroy();
      server.close();
      rmSync(directory, { recursive: true });
    };
  });
  afterEach(() => close());

  it("arrive as new close-on-exec descriptors of the same files, with their data", () => {
    const file = join(directory, "file");
    writeFileSync(file, "content");
    const fd = openSync(file, "r");
    expect(addon.sendFds(fdOf(left), Buffer.from("hello"), [fd, fd])).toBe(5);
    closeSync(fd);
    const message = check(addon.receiveFds(fdOf(right), 100, 8), "recvmsg");
    expect(Buffer.from(message.data).toString()).toBe("hello");
    expect(message.fds).toHaveLength(2);
    const buffer = Buffer.alloc(7);
    readSync(message.fds[0] ?? -1, buffer, 0, 7, 0);
    expect(buffer.toString()).toBe("content");
    for (const received of message.fds) closeSync(received);
  });

  it("are all or nothing: more than asked for leaves none open", () => {
    const fd = openSync("/dev/null", "r");
    for (const count of [2, 3, 253]) {
      addon.sendFds(
        fdOf(left),
        Uint8Array.of(1),
        Array.from({ length: count }, () => fd),
      );
      const before = openFds();
      expect(errnoName(addon.receiveFds(fdOf(right), 10, 1) as number)).toBe("EMSGSIZE");
      expect(openFds()).toBe(before);
    }
    addon.sendFds(fdOf(left), Uint8Array.of(1), [fd]);
    const { fds } = check(addon.receiveFds(fdOf(right), 10, 1), "recvmsg");
    expect(fds).toHaveLength(1);
    for (const received of [...fds, fd]) closeSync(received);
  });

  it("name each error, and the end of the peer is an empty message", () => {
    expect(errnoName(addon.receiveFds(fdOf(right), 10, 1) as number)).toBe("EAGAIN");
    expect(errnoName(addon.sendFds(fdOf(left), Uint8Array.of(1), [999_999]))).toBe("EBADF");
    expect(errnoName(addon.sendFds(-1, Uint8Array.of(1), []))).toBe("EBADF");
    expect(
      errnoName(
        addon.sendFds(
          fdOf(left),
          Uint8Array.of(1),
          Array.from({ length: 254 }, () => 0),
        ),
      ),
    ).toBe("EINVAL");
    expect(() => addon.sendFds(fdOf(left), new Uint8Array(0), [0])).toThrow(
      new TypeError("data must be at least one byte long"),
    );
    expect(() => addon.sendFds(fdOf(left), Uint8Array.of(1), ["0" as unknown as number])).toThrow(/^fds must be/);
    left.destroy();
    const fd = addon.duplicate(fdOf(right));
    expect(addon.receiveFds(fd, 10, 1)).toEqual({ data: new Uint8Array(0), fds: [] });
    closeSync(fd);
  });
});

describe("descriptors and locks", () => {
  const addon = loadAddon();

  it("are duplicated and closed, with an error for a wrong one", () => {
    const fd = openSync("/dev/null", "r");
    const copy = check(addon.duplicate(fd), "dup");
    expect(copy).not.toBe(fd);
    expect([addon.closeFd(fd), addon.closeFd(copy)]).toEqual([0, 0]);
    expect(errnoName(addon.closeFd(copy))).toBe("EBADF");
    expect(errnoName(addon.duplicate(-1))).toBe("EBADF");
  });

  it("of another process are copied by its pid and their number", () => {
    const inherited = openSync("/dev/null", "r");
    const child = spawn("sleep", ["60"], { stdio: [inherited, "ignore", "ignore"] });
    closeSync(inherited);
    try {
      const pid = child.pid ?? 0;
      const copy = check(addon.duplicateFrom(pid, 0), "pidfd_getfd");
      expect(readlinkSync(`/proc/self/fd/${copy}`)).toBe("/dev/null");
      expect(addon.closeFd(copy)).toBe(0);
      expect(errnoName(addon.duplicateFrom(pid, 1000))).toBe("EBADF");
    } finally {
      child.kill("SIGKILL");
    }
    expect(errnoName(addon.duplicateFrom(0x7ffffff0, 0))).toBe("ESRCH");
    expect(errnoName(addon.duplicateFrom(0, 0))).toBe("EINVAL");
  });

  it("of files opened inside a namespace go on telling of it", () => {
    const netns = check(addon.newNetns(true), "unshare");
    const table = check(addon.openInNetns(netns, "/proc/thread-self/net/tcp"), "open");
    const listener = check(addon.listen({ address: "127.0.0.1", port: 7, type: "stream", netns }), "listen");
    expect(readFileSync(`/proc/self/fd/${table}`, "latin1").trim().split("\n")).toHaveLength(2);
    for (const fd of [table, listener, netns]) addon.closeFd(fd);
    expect(errnoName(addon.openInNetns(undefined, "/nowhere"))).toBe("ENOENT");
  });

  it("lock a file for one process only, until its descriptor is closed", () => {
    const directory = mkdtempSync(join(tmpdir(), `shunt-test-${process.pid}-`));
    const path = join(directory, "lock");
    const fd = openSync(path, "w");
    const other = () =>
      inChild(`process.stdout.write(String(addon.lockFile(require("fs").openSync(${JSON.stringify(path)}, "w"))))`)
        .stdout;
    expect(addon.lockFile(fd)).toBe(0);
    expect(addon.lockFile(fd)).toBe(0);
    expect(errnoName(Number(other()))).toBe("EAGAIN");
    closeSync(fd);
    expect(other()).toBe("0");
    rmSync(directory, { recursive: true });
  });

  it("name the errors of mount and unmount", () => {
    expect(errnoName(addon.mount("bpf", "/nonexistent", "bpf", 0, ""))).toBe("ENOENT");
    expect(errnoName(addon.mount("x", "/tmp", "no-such-fs", 0, ""))).toBe("ENODEV");
    expect(errnoName(addon.unmount("/nonexistent", 0))).toBe("ENOENT");
  });
});

describe("a datagram to a unix socket", () => {
  const addon = loadAddon();
  const send = (path: string): string => errnoName(addon.sendDatagram(path, Buffer.from("READY=1")));

  // That it arrives is shown with a receiver in test/integration/agent/status.test.ts.
  it("names the errors of sending, and takes the longest path there can be", () => {
    expect(send("/nonexistent")).toBe("ENOENT");
    expect(send("\0nobody-has-this-name")).toBe("ECONNREFUSED");
    expect(send("")).toBe("EINVAL");
    expect(send(`/${"x".repeat(107)}`)).toBe("ENOENT");
    expect(send(`/${"x".repeat(108)}`)).toBe("EINVAL");
    expect(() => send("/a\0b")).toThrow(TypeError);
  });

  it("leaves no descriptor behind", () => {
    const before = openFds();
    for (let round = 0; round < 100; round++) send("/nonexistent");
    expect(openFds()).toBe(before);
  });
});
