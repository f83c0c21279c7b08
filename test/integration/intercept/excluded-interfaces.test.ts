// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EbpfBackend } from "../../../src/intercept/ebpf/backend.ts";
import type { WorkloadScope } from "../../../src/intercept/ebpf/workload-scope.ts";
import { NetworkNamespace } from "../../../src/intercept/network-namespace.ts";
import type { InterceptSpec } from "../../../src/intercept/spec.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check } from "../../../src/native/status.ts";
import { eventually } from "../../support/inbox.ts";
import { ip, NetLab } from "../../support/net-lab.ts";

const OUTBOUND_PORT = 15001;
const INBOUND_PORT = 15006;

/** One namespace with two ways to the other: eth0, and net1, which is excluded. */
describe("an excluded interface", () => {
  let lab: NetLab;
  let netns: NetworkNamespace;
  let far: NetworkNamespace;
  let backend: EbpfBackend;
  let scope: WorkloadScope;
  const fds: number[] = [];

  const specWith = (exclude: readonly string[]): InterceptSpec => ({
    name: "interfaces",
    target: { kind: "netns", path: lab.client.path },
    outbound: {
      port: OUTBOUND_PORT,
      includePorts: [],
      excludePorts: [],
      includeCidrs: "all",
      excludeCidrs: [],
      captureLoopback: false,
      captureLocal: false,
      dns: { kind: "off" },
      ownerGroups: { kind: "all-except", groups: [] },
    },
    inbound: { port: INBOUND_PORT, includePorts: "all", excludePorts: [], includeCidrs: "all", excludeCidrs: [] },
    proxy: { mark: { value: 0x539, mask: 0xfff }, uids: [], gids: [], external: false },
    interfaces: { exclude, reroute: [] },
    dropInvalid: false,
    failMode: "deny",
    trace: false,
  });

  const addSecondWay = (): void => {
    ip(
      "-n",
      lab.client.netns,
      "link",
      "add",
      "net1",
      "type",
      "veth",
      "peer",
      "name",
      "net1",
      "netns",
      lab.server.netns,
    );
    for (const [node, host] of [
      [lab.client, 1],
      [lab.server, 2],
    ] as const) {
      ip("-n", node.netns, "link", "set", "net1", "up");
      ip("-n", node.netns, "addr", "add", `10.98.0.${host}/24`, "dev", "net1");
      ip("-n", node.netns, "addr", "add", `fd98::${host}/64`, "dev", "net1", "nodad");
    }
    scope?.setLocalAddresses(netns.localAddresses());
  };

  beforeAll(async () => {
    lab = new NetLab("interfaces");
    netns = new NetworkNamespace(lab.client.path);
    far = new NetworkNamespace(lab.server.path);
    addSecondWay();
    const inbound: { family: 4 | 6; index: number; fd: number }[] = [];
    for (const family of [4, 6] as const) {
      for (const port of [OUTBOUND_PORT, INBOUND_PORT]) {
        const address = family === 4 ? "127.0.0.1" : "::1";
        const options = { address, port, type: "stream" as const, netns: netns.fd, backlog: 4096 };
        const fd = check(loadAddon().listen(family === 6 ? { ...options, v6only: true } : options), "listen");
        fds.push(fd);
        if (port === INBOUND_PORT) inbound.push({ family, index: 0, fd });
      }
    }
    backend = new EbpfBackend({ name: `shunt-test-${process.pid}-interfaces` });
    scope = await backend.apply(specWith(["net1"]), netns, inbound);
  });

  afterAll(() => {
    for (const fd of fds) loadAddon().closeFd(fd);
    backend?.remove();
    netns?.[Symbol.dispose]();
    far?.[Symbol.dispose]();
    lab?.[Symbol.dispose]();
  });

  const newIn = (direction: "outbound" | "inbound", before: ReturnType<WorkloadScope["counters"]>) =>
    Object.entries(scope.counters()[direction]).find(([name, count]) => count > (before[direction][name] ?? 0))?.[0];

  /** Why the connect program did what it did; that is known when connect() returns. */
  const outbound = (address: string): string | undefined => {
    const before = scope.counters();
    const fd = check(loadAddon().bindSocket({ address, port: 80, netns: netns.fd }), "socket");
    const pending = loadAddon().connectSocket(fd, address, 80, () => {});
    if (typeof pending !== "number") pending.cancel();
    loadAddon().closeFd(fd);
    return newIn("outbound", before);
  };

  const inbound = async (address: string): Promise<string | undefined> => {
    const before = scope.counters();
    const fd = check(loadAddon().bindSocket({ address, port: 80, netns: far.fd }), "socket");
    await new Promise<void>((resolve) => {
      if (typeof loadAddon().connectSocket(fd, address, 80, () => resolve()) === "number") resolve();
    });
    loadAddon().closeFd(fd);
    return newIn("inbound", before);
  };

  const becomes = (address: string, reason: string) => eventually(() => outbound(address) === reason);

  it("takes what leaves by it out of the capture, and its own addresses stay local", async () => {
    expect(outbound(lab.server.v4)).toBe("all-included");
    expect(outbound(lab.server.v6)).toBe("all-included");
    expect(outbound("10.98.0.2")).toBe("interface-excluded");
    expect(outbound("fd98::2")).toBe("interface-excluded");
    expect(outbound("10.98.0.1")).toBe("local-address");
  });

  it("takes what arrives by it out of the capture", async () => {
    expect(await inbound(lab.client.v4)).toBe("all-included");
    expect(await inbound(lab.client.v6)).toBe("all-included");
    expect(await inbound("10.98.0.1")).toBe("interface-excluded");
    expect(await inbound("fd98::1")).toBe("interface-excluded");
  });

  it("is followed when routes change", async () => {
    expect(outbound("203.0.113.9")).toBe("all-included");
    ip("-n", lab.client.netns, "route", "add", "203.0.113.0/24", "via", "10.98.0.2");
    await becomes("203.0.113.9", "interface-excluded");
    ip("-n", lab.client.netns, "route", "add", "203.0.113.8/29", "via", lab.server.v4);
    await becomes("203.0.113.9", "all-included");
    expect(outbound("203.0.113.99")).toBe("interface-excluded");
    ip("-n", lab.client.netns, "route", "del", "203.0.113.0/24");
    await becomes("203.0.113.99", "all-included");
  });

  it("is followed when it is made anew under its name", async () => {
    ip("-n", lab.client.netns, "link", "del", "net1");
    await becomes("10.98.0.2", "all-included");
    addSecondWay();
    await becomes("10.98.0.2", "interface-excluded");
    expect(await inbound("fd98::1")).toBe("interface-excluded");
  });

  it("comes and goes with the policy, and may be named by its beginning", async () => {
    await scope.update(specWith([]));
    expect(outbound("10.98.0.2")).toBe("all-included");
    expect(await inbound("10.98.0.1")).toBe("all-included");
    await scope.update(specWith(["other0", "net+"]));
    expect(outbound("10.98.0.2")).toBe("interface-excluded");
    expect(await inbound("10.98.0.1")).toBe("interface-excluded");
  });

  it("leaves nothing in the maps when the workload goes", async () => {
    await scope.remove();
    expect([...(backend.instance?.map("interfaces").entries() ?? [])]).toEqual([]);
    expect([...(backend.instance?.map("cidrs").entries() ?? [])]).toEqual([]);
  });
});
