// SPDX-License-Identifier: Apache-2.0
/** The programs for kernels where sockops can't ask for the namespace, which newer kernels load as well. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { EbpfBackend } from "../../../src/intercept/ebpf/backend.ts";
import { learnNetnsCookie } from "../../../src/intercept/learn-netns-cookie.ts";
import { NetworkNamespace } from "../../../src/intercept/network-namespace.ts";
import { createOriginalDestinationLookup } from "../../../src/intercept/original-destination.ts";
import type { InterceptSpec } from "../../../src/intercept/spec.ts";
import type { NativeConnect } from "../../../src/native/addon.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check } from "../../../src/native/status.ts";
import { PROXY_ID } from "../../support/external-proxy.ts";
import { eventually } from "../../support/inbox.ts";
import { ask, LabProcesses, sidecar, tellServer } from "../../support/lab-process.ts";
import { NetLab } from "../../support/net-lab.ts";
import { runCommand } from "../../support/shunt.ts";

const PROXY_PORT = 15001;
const SOURCE_PORT = 40_123;
const PORT = 8080;

let lab: NetLab;
let backend: EbpfBackend;

beforeEach(() => {
  lab = new NetLab("old");
  backend = new EbpfBackend({ name: `shunt-test-${process.pid}-old`, standIns: true });
});

afterEach(() => {
  backend.remove();
  lab[Symbol.dispose]();
});

function specFor(path: string, external = false): InterceptSpec {
  return {
    name: path,
    target: { kind: "netns", path },
    outbound: {
      port: PROXY_PORT,
      includePorts: [],
      excludePorts: [],
      includeCidrs: "all",
      excludeCidrs: [],
      captureLoopback: false,
      captureLocal: false,
      dns: { kind: "off" },
      ownerGroups: { kind: "all-except", groups: [] },
    },
    proxy: { mark: { value: 0x539, mask: 0xfff }, uids: [PROXY_ID], gids: [], external },
    interfaces: { exclude: [], reroute: [] },
    dropInvalid: false,
    failMode: "deny",
    trace: false,
  };
}

/** Descriptors, closed with it. */
class Descriptors implements Disposable {
  readonly #all: number[] = [];
  readonly #connecting: NativeConnect[] = [];

  listen(netns: NetworkNamespace, address: string): number {
    const options = {
      address,
      port: PROXY_PORT,
      type: "stream",
      netns: netns.fd,
      v6only: address.includes(":"),
    } as const;
    return this.#keep(check(loadAddon().listen(options), "listen"));
  }

  /** From the same port every time; resolves with 0 or −errno. */
  connect(netns: NetworkNamespace, bindAddress: string, address: string): Promise<number> {
    const source = { address, port: PORT, netns: netns.fd, bindAddress, bindPort: SOURCE_PORT };
    const fd = this.#keep(check(loadAddon().bindSocket(source), "bind"));
    return new Promise((resolve) => {
      const connecting = loadAddon().connectSocket(fd, address, PORT, resolve);
      if (typeof connecting === "number") resolve(connecting);
      else this.#connecting.push(connecting);
    });
  }

  [Symbol.dispose](): void {
    for (const connecting of this.#connecting) connecting.cancel();
    for (const fd of this.#all) loadAddon().closeFd(fd);
  }

  #keep(fd: number): number {
    this.#all.push(fd);
    return fd;
  }
}

it.each([
  { loopback: "127.0.0.1", destinations: ["192.0.2.1", "192.0.2.2"] },
  { loopback: "::1", destinations: ["2001:db8::1", "2001:db8::2"] },
])("connections with equal addresses and ports in two namespaces are told apart: $loopback", async (example) => {
  const { loopback, destinations } = example;
  using descriptors = new Descriptors();
  using client = new NetworkNamespace(lab.client.path);
  using server = new NetworkNamespace(lab.server.path);
  const pods = [client, server];
  for (const pod of pods) {
    descriptors.listen(pod, loopback);
    await backend.apply(specFor(pod.path), pod, []);
  }
  // Nobody accepts, so both are in the map at once.
  const made = await Promise.all(pods.map((pod, i) => descriptors.connect(pod, loopback, destinations[i] ?? "")));
  expect(made).toEqual([0, 0]);
  const ends = { local: { address: loopback, port: PROXY_PORT }, remote: { address: loopback, port: SOURCE_PORT } };
  const told = pods.map((pod) => {
    const source = backend.originals(pod);
    if (source === undefined) throw new Error("there is no map");
    using lookup = createOriginalDestinationLookup(source);
    return lookup({ fd: -1, ...ends });
  });
  expect(told).toEqual(destinations.map((address) => ({ address, port: PORT, interception: "ebpf" })));
});

it.each(["before", "after"])(
  "a proxy that is not ours, listening since %s, asks for the original destination",
  async (when) => {
    using pod = new NetworkNamespace(lab.client.path);
    await using processes = new LabProcesses();
    await processes.start(tellServer("python", "::", [PORT]), lab.server.path);
    const startProxy = () => processes.start(sidecar({}, { uid: PROXY_ID, gid: PROXY_ID }), pod.path);
    const early = when === "before" ? await startProxy() : undefined;
    await backend.apply(specFor(pod.path, true), pod, []);
    const proxy = early ?? (await startProxy());
    for (const address of [lab.server.v4, lab.server.v6]) {
      expect(await ask("python", pod.path, address, PORT)).toMatchObject({ peer: [address, PORT] });
      await proxy.line(new RegExp(`outbound ${address} ${PORT}`));
    }
    await eventually(() => [...(backend.instance?.map("originals").entries() ?? [])].length === 0);
  },
);

it("a connection that nobody answers leaves nothing in the map", async () => {
  using pod = new NetworkNamespace(lab.client.path);
  using listener = new Descriptors();
  listener.listen(pod, "127.0.0.1");
  await backend.apply(specFor(pod.path), pod, []);
  const drop = ["iptables", "-A", "INPUT", "-p", "tcp", "--dport", String(PROXY_PORT), "-j", "DROP"];
  expect(await runCommand(drop, { netns: pod.path })).toMatchObject({ status: 0 });
  const entries = () => [...(backend.instance?.map("originals").entries() ?? [])];
  {
    using client = new Descriptors();
    void client.connect(pod, "127.0.0.1", "192.0.2.1");
    expect(entries()).toMatchObject([[{ remotePort: SOURCE_PORT }, { netns: pod.cookie(), address: "192.0.2.1" }]]);
  }
  await eventually(() => entries().length === 0);
});

it("a connect hook tells the same cookie of a namespace as the kernel", () => {
  for (const path of [lab.client.path, lab.server.path]) {
    using netns = new NetworkNamespace(path);
    expect(learnNetnsCookie(netns.fd)).toBe(check(loadAddon().netnsCookie(netns.fd), "getsockopt(SO_NETNS_COOKIE)"));
  }
});
