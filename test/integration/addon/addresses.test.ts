// SPDX-License-Identifier: Apache-2.0
import { closeSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check, errnoName } from "../../../src/native/status.ts";
import { eventually, inChild, ownNetnsInode } from "../../support/addon-fixture.ts";

describe("the addresses of a namespace", () => {
  const addon = loadAddon();
  let netns: number;
  beforeEach(() => {
    netns = check(addon.newNetns(true), "newNetns");
  });
  afterEach(() => closeSync(netns));

  const addresses = () => check(addon.interfaceAddresses(netns), "getifaddrs");

  it("are listed with interface and prefix length", () => {
    expect(addresses()).toEqual([
      { interface: "lo", address: "127.0.0.1", prefixLength: 8, up: true },
      { interface: "lo", address: "::1", prefixLength: 128, up: true },
    ]);
    const down = check(addon.newNetns(false), "newNetns");
    expect(addon.interfaceAddresses(down)).toEqual([]);
    closeSync(down);
    expect(
      check(addon.interfaceAddresses(undefined), "getifaddrs").some((entry) => entry.address === "127.0.0.1"),
    ).toBe(true);
  });

  it("are added, can be bound to at once, and are removed, for both families", () => {
    const before = addresses();
    const inode = ownNetnsInode();
    for (const [address, prefixLength] of [
      ["::6", 128],
      ["127.0.0.6", 32],
      ["192.0.2.7", 24],
      ["2001:db8::7", 64],
    ] as const) {
      expect(addon.changeAddress(netns, true, "lo", address, prefixLength)).toBe(0);
      expect(addresses()).toContainEqual({ interface: "lo", address, prefixLength, up: true });
      const fd = check(addon.listen({ address, port: 0, type: "stream", netns }), "listen");
      closeSync(fd);
      expect(errnoName(addon.changeAddress(netns, true, "lo", address, prefixLength))).toBe("EEXIST");
      expect(addon.changeAddress(netns, false, "lo", address, prefixLength)).toBe(0);
      expect(errnoName(addon.changeAddress(netns, false, "lo", address, prefixLength))).toBe("EADDRNOTAVAIL");
    }
    expect(addresses()).toEqual(before);
    expect(ownNetnsInode()).toBe(inode);
  });

  it("name each error of a change", () => {
    expect(errnoName(addon.changeAddress(netns, true, "none", "::6", 128))).toBe("ENODEV");
    expect(errnoName(addon.changeAddress(netns, true, "lo", "nonsense", 128))).toBe("EINVAL");
    expect(errnoName(addon.changeAddress(netns, true, "lo", "127.0.0.6", 33))).toBe("EINVAL");
    expect(errnoName(addon.changeAddress(-1, true, "lo", "::6", 128))).toBe("EBADF");
    expect(errnoName(addon.interfaceAddresses(-1) as number)).toBe("EBADF");
    expect(errnoName(addon.watchAddresses(-1, () => {}) as number)).toBe("EBADF");
    expect(
      inChild('process.stdout.write(String(addon.changeAddress(undefined, true, "lo", "127.0.0.66", 32)))', {
        uid: 65534,
      }).stdout,
    ).toBe("-1");
  });

  it("are watched: additions and removals of both families, until closed", async () => {
    let changes = 0;
    const watcher = check(
      addon.watchAddresses(netns, () => changes++),
      "watch",
    );
    let expected = 0;
    for (const [add, address, prefixLength] of [
      [true, "::6", 128],
      [false, "::6", 128],
      [true, "192.0.2.7", 24],
      [false, "192.0.2.7", 24],
    ] as const) {
      expected = changes;
      check(addon.changeAddress(netns, add, "lo", address, prefixLength), "change");
      await eventually(`${add ? "addition" : "removal"} of ${address}`, () => changes > expected);
    }
    watcher.close();
    expected = changes;
    check(addon.changeAddress(netns, true, "lo", "::6", 128), "change");
    await setImmediate();
    await setImmediate();
    expect(changes).toBe(expected);
  });

  it("are still watched after more changes at once than the socket holds", async () => {
    let changes = 0;
    const watcher = check(
      addon.watchAddresses(netns, () => changes++),
      "watch",
    );
    for (let i = 0; i < 4000; i++) addon.changeAddress(netns, i % 2 === 0, "lo", "192.0.2.9", 32);
    await eventually("a change", () => changes > 0);
    await setImmediate();
    const before = changes;
    check(addon.changeAddress(netns, true, "lo", "::6", 128), "change");
    await eventually("another change", () => changes > before);
    watcher.close();
  });
});
