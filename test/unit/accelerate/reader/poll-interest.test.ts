// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import { readlinkSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { interestIn, pollInterest } from "../../../../src/accelerate/reader/poll-interest.ts";
import { holdersOf } from "../../../../src/accelerate/reader/socket-holders.ts";

const line = (events: string, ino: string) =>
  `tfd:       11 events: ${events.padStart(8)} data:                b  pos:0 ino:${ino} sdev:8\n`;

describe("the interest of an epoll descriptor", () => {
  it.each([
    ["level-triggered input", "19", "level"],
    ["input once for every change", "80002001", "unknown"],
    ["input once at all", "40000001", "unknown"],
    ["output alone", "4", "none"],
  ])("%s", (_, events, expected) => {
    const text = `pos:\t0\nflags:\t02\n${line("1", "77a")}${line(events, "77")}`;
    expect(interestIn(text, "77")).toBe(expected);
  });

  it("says nothing of another socket", () => {
    expect(interestIn(line("19", "77"), "777")).toBeUndefined();
  });
});

/** Inode of a socket of this process. */
function inodeOf(socket: Socket): bigint {
  const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
  return BigInt(/socket:\[(\d+)\]/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1] ?? "");
}

describe("a socket of this process", () => {
  it("is found to be held by it, and read or not as it wants", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const connected = once(server, "connection") as Promise<[Socket]>;
    const client = connect(typeof address === "object" ? (address?.port ?? 0) : 0, "127.0.0.1");
    const [accepted] = await connected;
    const netns = BigInt(/\d+/.exec(readlinkSync("/proc/self/ns/net"))?.[0] ?? "");
    const inode = inodeOf(accepted);
    try {
      expect(holdersOf(inode, netns, process.pid)).toEqual([process.pid]);
      expect(holdersOf(inode, netns, 0)).toEqual([process.pid]);
      // The parent of the process that holds it, in no namespace that is searched.
      expect(holdersOf(inode, netns + 1n, process.ppid)).toEqual([process.pid]);
      // Whoever is asked first and does not hold it is not believed.
      expect(holdersOf(inode, netns, 1)).toEqual([process.pid]);
      // A proxy's sockets are in its workloads' namespaces, and their holder is not.
      expect(holdersOf(inode, netns + 1n, 0)).toEqual([process.pid]);
      expect(holdersOf(2n ** 60n, netns, 0)).toEqual([]);
      accepted.resume();
      // libuv tells epoll in the next turn of its loop.
      await new Promise(setImmediate);
      await new Promise(setImmediate);
      expect(pollInterest(process.pid, inode)).toBe("level");
      expect(pollInterest(process.pid, 1n)).toBe("none");
    } finally {
      client.destroy();
      accepted.destroy();
      server.close();
    }
  });
});
