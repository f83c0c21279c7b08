// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, existsSync, openSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { BpfObject } from "../../../src/bpf/bpf-object.ts";
import { mapFromFd } from "../../../src/intercept/map-from-fd.ts";
import { createDatagramLookup, createOriginalDestinationLookup } from "../../../src/intercept/original-destination.ts";
import { createOwnFlowNoter } from "../../../src/intercept/own-flows.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check } from "../../../src/native/status.ts";
import { ip } from "../../support/net-lab.ts";
import { ProxyRig } from "../../support/proxy-rig.ts";
import { TcpPeer, TcpServer } from "../../support/tcp-peer.ts";

const OBJECT = fileURLToPath(new URL("../../../bpf/build/connect.bpf.o", import.meta.url));
const BPF_MAP_TYPE_HASH = 1;

/** A map of the size that the object declares. */
function makeMap(name: string) {
  using object = BpfObject.open(OBJECT);
  const declared = object.maps().find((map) => map.name === name);
  if (!declared) throw new Error(`no map ${name} in ${OBJECT}`);
  const { keySize, valueSize } = declared;
  const options = { type: BPF_MAP_TYPE_HASH, name, keySize, valueSize, maxEntries: 16, flags: 0 };
  return check(loadAddon().createMap(options), "createMap", name);
}

describe("the original destination", () => {
  it("is found in the map by namespace and tuple, once, for IPv4 and IPv6", () => {
    const native = makeMap("originals");
    using originals = mapFromFd("originals", native.fd);
    using lookup = createOriginalDestinationLookup({
      kind: "ebpf-map",
      originalsFd: native.fd,
      datagramsFd: -1,
      hopsFd: -1,
      netnsCookie: "18446744073709551615",
    });
    native.close();
    for (const [local, remote, address] of [
      ["127.0.0.1", "127.0.0.1", "10.1.2.3"],
      ["::1", "::1", "fd00::7"],
    ] as const) {
      const connection = { fd: -1, local: { address: local, port: 15001 }, remote: { address: remote, port: 40001 } };
      expect(lookup(connection)).toBeUndefined();
      const key = { netns: 2n ** 64n - 1n, remote, local, remotePort: 40001, localPort: 15001 };
      const value = {
        cookie: 9n,
        netns: 7n,
        createdNs: 0n,
        address,
        port: 8443,
        slot: 1,
        direction: "outbound",
        reason: "all-included",
      } as const;
      originals.set(key, value);
      originals.set({ ...key, netns: 1n }, { ...value, port: 1 });
      expect(lookup(connection)).toEqual({ address, port: 8443, interception: "ebpf" });
      expect(lookup(connection)).toBeUndefined();
    }
  });

  it("of a datagram is found by the socket it comes from, as often as one is sent", () => {
    const native = makeMap("dgram_origs");
    using datagrams = mapFromFd("dgram_origs", native.fd);
    using lookup = createDatagramLookup({
      kind: "ebpf-map",
      originalsFd: -1,
      datagramsFd: native.fd,
      hopsFd: -1,
      netnsCookie: "7",
    });
    native.close();
    const datagram = {
      fd: -1,
      local: { address: "127.0.0.1", port: 15053 },
      remote: { address: "127.0.0.1", port: 40001 },
    };
    const key = { netns: 7n, remote: "127.0.0.1", local: "127.0.0.1", remotePort: 40001, localPort: 15053 };
    const rest = { cookie: 9n, netns: 7n, createdNs: 0n, slot: 1, direction: "dns", reason: "dns" } as const;
    expect(lookup?.(datagram)).toBeUndefined();
    datagrams.set(key, { ...rest, address: "10.0.0.53", port: 53 });
    for (const _ of [1, 2])
      expect(lookup?.(datagram)).toEqual({ address: "10.0.0.53", port: 53, interception: "ebpf" });
    expect(createDatagramLookup({ kind: "conntrack" })).toBeUndefined();
  });

  it("is the accepted socket's own address where nothing changed it", () => {
    using lookup = createOriginalDestinationLookup({ kind: "local-address" });
    const local = { address: "10.0.0.5", port: 8080 };
    expect(lookup({ fd: -1, local, remote: { address: "10.0.0.9", port: 1 } })).toEqual({
      ...local,
      interception: "ebpf",
    });
  });

  it.skipIf(!existsSync("/usr/sbin/iptables") && !existsSync("/usr/bin/iptables"))(
    "is what conntrack remembers of a REDIRECT, IPv4 and IPv6 (skipped without the program iptables)",
    async () => {
      const name = `shunt-test-${process.pid}-odst-${randomBytes(2).toString("hex")}`;
      ip("netns", "add", name);
      const netnsFd = openSync(`/run/netns/${name}`, "r");
      try {
        ip("-n", name, "link", "set", "lo", "up");
        for (const [tool, address] of [
          ["iptables", "127.0.0.1"],
          ["ip6tables", "::1"],
        ] as const) {
          using lookup = createOriginalDestinationLookup({ kind: "conntrack" });
          await using app = new TcpServer({ address, netnsFd }).echo();
          await using rig = await ProxyRig.start(app, {
            address,
            listenNetnsFd: netnsFd,
            netnsFd,
            mark: 0x539,
            lookup,
          });
          const rule = ["-t", "nat", "-A", "OUTPUT", "-p", "tcp", "--dport", String(app.port)];
          const target = ["-m", "mark", "!", "--mark", "0x539", "-j", "REDIRECT", "--to-ports", String(rig.port)];
          execFileSync("ip", ["netns", "exec", name, tool, "-w", ...rule, ...target]);
          const client = await TcpPeer.connect({ address, port: app.port, netnsFd });
          client.write("hello");
          expect(String(await client.bytes(5))).toBe("hello");
          client.end();
          const destination = address === "::1" ? `[::1]:${app.port}` : `127.0.0.1:${app.port}`;
          expect(await rig.records.take()).toMatchObject({
            originalDestination: destination,
            interception: "iptables",
            outcome: "closed",
          });
          // The proxy's port itself was not redirected: nobody knows, or it is the proxy's own. Either way no loop.
          expect(await rig.fateOfClient()).toBe("ECONNRESET");
          expect(await rig.records.take()).toMatchObject({ outcome: "refused", upstream: null });
        }
      } finally {
        closeSync(netnsFd);
        ip("netns", "del", name);
      }
    },
  );
});

describe("a note of the proxy's own flow", () => {
  it("is in the map as the application sees the connection, until it is disposed of", () => {
    const native = makeMap("own_flows");
    using flows = mapFromFd("own_flows", native.fd);
    using note = createOwnFlowNoter({ ownFlowsFd: native.fd, netnsCookie: "77" });
    native.close();
    const key = { netns: 77n, remote: "10.0.0.1", local: "10.0.0.2", remotePort: 40000, localPort: 80 };
    {
      using _ = note({ address: "10.0.0.1", port: 40000 }, { address: "10.0.0.2", port: 80 });
      const ageNs = process.hrtime.bigint() - (flows.get(key) ?? 0n);
      expect(ageNs >= 0n && ageNs < 60_000_000_000n, `${ageNs} ns`).toBe(true);
    }
    expect(flows.get(key)).toBeUndefined();
  });
});
