// SPDX-License-Identifier: Apache-2.0
/** Istio's six types of traffic of a pod, and who is taken for the pod's own proxy: no loop for any. */
import { mkdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import type { StatusReport } from "../../../src/config/formats/status.ts";
import { findCgroup2 } from "../../../src/util/mountinfo.ts";
import { eventually, patienceMs } from "../../support/inbox.ts";
import { ask, type Identity, sidecar, tellServer } from "../../support/lab-process.ts";
import { inSomeModes } from "../../support/modes.ts";
import { endpoint, PodPair } from "../../support/pod-pair.ts";
import { uniqueName } from "../../support/shunt.ts";

/** Application ports, and those Istio never intercepts inbound. */
const PORTS = [80, 15020, 15021, 15090];

async function startServers({ processes, lab }: PodPair): Promise<void> {
  for (const { path } of [lab.client, lab.server]) await processes.start(tellServer("python", "::", PORTS), path);
}

inSomeModes(["ebpf", "nftables"], "the pod's traffic", (mode) => {
  let pair: PodPair;
  /** Records that the test before has explained. */
  let explained = 0;

  // `server` is the pod; what is at the other end is not intercepted, as a client outside the mesh.
  beforeAll(async () => {
    pair = await PodPair.start({ mode, server: {} });
    await startServers(pair);
  });

  afterAll(() => pair[Symbol.asyncDispose]());

  /**
   * One connection more, whose record comes after whatever the ones before it could have caused: both workers have
   * their turn, and a loop would have filled the file.
   */
  async function recordsSince(): Promise<string[]> {
    const { lab, agent } = pair;
    const before = agent.records().length;
    for (const _ of Array(4).keys()) await ask("python", lab.server.path, lab.client.v4, 80);
    const marker = endpoint(lab.client.v4, 80);
    const since = (from: number) => agent.records().slice(from);
    await eventually(() => since(before).filter((r) => r.originalDestination === marker).length >= 4);
    const news = since(explained);
    explained += news.length;
    return news
      .map((r) => `${r.direction} ${r.originalDestination} ${r.outcome}`)
      .filter((line) => line !== `outbound ${marker} closed`);
  }

  it("1: what a remote host sends to the pod goes through the proxy once", async () => {
    const { client, server } = pair.lab;
    for (const address of [server.v4, server.v6]) {
      const local = address === server.v4 ? "::ffff:127.0.0.6" : "::6";
      expect(await ask("curl", client.path, address, 80)).toMatchObject({ client: local, peer: [address, 80] });
    }
    expect(await recordsSince()).toEqual([server.v4, server.v6].map((a) => `inbound ${endpoint(a, 80)} closed`));
  });

  it("2: what the pod sends to a remote host goes through the proxy once", async () => {
    const { client, server } = pair.lab;
    for (const address of [client.v4, client.v6]) {
      // From the pod's own address, as without a proxy.
      const from = address === client.v4 ? `::ffff:${server.v4}` : server.v6;
      expect(await ask("curl", server.path, address, 15020)).toMatchObject({ client: from, peer: [address, 15020] });
    }
    expect(await recordsSince()).toEqual([client.v4, client.v6].map((a) => `outbound ${endpoint(a, 15020)} closed`));
  });

  it("3: what scrapes and probes the pod's own ports does not meet the proxy", async () => {
    const { client, server } = pair.lab;
    for (const port of [15020, 15021, 15090]) {
      expect(await ask("python", client.path, server.v4, port)).toMatchObject({ client: `::ffff:${client.v4}` });
      expect(await ask("python", client.path, server.v6, port)).toMatchObject({ client: client.v6 });
    }
    expect(await recordsSince()).toEqual([]);
  });

  it("4: what the pod sends to itself does not meet the proxy", async () => {
    const { server } = pair.lab;
    for (const address of [server.v4, "127.0.0.1", "127.9.9.9"]) {
      expect(await ask("python", server.path, address, 80)).toMatchObject({ local: [`::ffff:${address}`, 80] });
    }
    for (const address of [server.v6, "::1"]) {
      expect(await ask("python", server.path, address, 80)).toMatchObject({ local: [address, 80] });
    }
    expect(await ask("python", server.path, server.v4, 80, { source: server.v4 })).toMatchObject({
      client: `::ffff:${server.v4}`,
    });
    expect(await recordsSince()).toEqual([]);
  });

  it("5, 6: what bears the proxy's mark goes where it wants, inside and outside the pod", async () => {
    const { client, server } = pair.lab;
    const marked = { mark: 0x539 };
    for (const address of [client.v4, client.v6, server.v4, server.v6, "127.0.0.1", "::1"]) {
      expect(await ask("python", server.path, address, 80, marked), address).toMatchObject({ peer: [address, 80] });
    }
    expect(await recordsSince()).toEqual([]);
    // The mask is twelve bits: higher ones are others' business.
    expect(await ask("python", server.path, client.v4, 15021, { mark: 0x70539 })).toMatchObject({ server: "python" });
    expect(await recordsSince()).toEqual([]);
    expect(await ask("python", server.path, client.v4, 15021, { mark: 0x538 })).toMatchObject({ server: "python" });
    expect(await recordsSince()).toEqual([`outbound ${endpoint(client.v4, 15021)} closed`]);
  });

  it("a connection to the proxy's own ports is refused and recorded so, and does not go round", async () => {
    const { server } = pair.lab;
    for (const [address, port] of [
      ["127.0.0.1", 15001],
      ["127.0.0.1", 15006],
      ["::1", 15001],
      ["::1", 15006],
    ] as const) {
      const told = await ask("python", server.path, address, port);
      expect(told.error, `${address} ${port}`).toMatch(/ConnectionResetError|BrokenPipeError|NoAnswer/);
      const [record] = await pair.agent.waitForRecords((r) => r.outcome === "refused");
      expect(record).toMatchObject({ upstream: null, bytesSent: 0, bytesReceived: 0, workload: "server" });
    }
    const lines = await recordsSince();
    expect(lines).toHaveLength(4);
    for (const line of lines) expect(line).toMatch(/^(outbound|inbound) (null|(127\.0\.0\.1|\[::1\]):\d+) refused$/);
  });

  it("a remote server that happens to use the proxy's port is reached through the proxy", async () => {
    const { client, server } = pair.lab;
    for (const port of [15001, 15006]) {
      await pair.processes.start(tellServer("python", "::", [port]), client.path);
      for (const address of [client.v4, client.v6]) {
        expect(await ask("python", server.path, address, port)).toMatchObject({ peer: [address, port] });
      }
    }
    expect(await recordsSince()).toEqual(
      [15001, 15006].flatMap((port) => [client.v4, client.v6].map((a) => `outbound ${endpoint(a, port)} closed`)),
    );
  });

  it("from outside nobody reaches the proxy's own ports", async () => {
    const { client, server } = pair.lab;
    for (const address of [server.v4, server.v6]) {
      for (const port of [15001, 15006]) {
        const told = await ask("python", client.path, address, port);
        expect(told.error, `${address} ${port}`).toMatch(/Connection(Refused|Reset)Error|BrokenPipeError|NoAnswer/);
      }
    }
    for (const line of await recordsSince()) expect(line).toMatch(/ refused$/);
  });
});

inSomeModes(["ebpf", "nftables"], "an unmodified sidecar", (mode) => {
  const VIPS = { v4: "203.0.113.9", v6: "2001:db8::9" };
  const cgroup = join(findCgroup2()?.mountPoint ?? "", uniqueName("sidecar"));
  const parts: AsyncDisposable[] = [];

  beforeAll(() => mkdirSync(cgroup));
  afterEach(async () => {
    for (const part of parts.splice(0).reverse()) await part[Symbol.asyncDispose]();
  });
  afterAll(() => rmdirSync(cgroup));

  async function startPod(proxy: Record<string, unknown>, as: Identity) {
    const pair = await PodPair.start({ mode, server: { proxy: { external: true, ...proxy } } });
    parts.push(pair);
    const { client, server } = pair.lab;
    for (const family of ["v4", "v6"] as const) {
      // A route, so that the address a service has nowhere on the machine can be asked for.
      pair.ip(server, family === "v4" ? "-4" : "-6", "route", "add", "default", "via", client[family]);
    }
    await startServers(pair);
    const services = { [VIPS.v4]: server.v4, [VIPS.v6]: server.v6 };
    const proxyProcess = await pair.processes.start(sidecar(services, as), server.path);
    await takenByAgent(pair);
    return { pair, client, server, proxy: proxyProcess };
  }

  /** sk_lookup is given the sockets of a proxy that started later; an agent with rules only sees them. */
  async function takenByAgent({ agent }: PodPair): Promise<void> {
    const deadline = performance.now() + patienceMs(20_000);
    for (;;) {
      const { workloads } = await agent.ask<StatusReport>("status");
      const inbound = workloads.flatMap(({ listeners }) =>
        listeners.filter(({ direction }) => direction === "inbound"),
      );
      if (inbound.length === 2) return;
      if (performance.now() > deadline) throw new Error(`the sidecar is not found: ${JSON.stringify(workloads)}`);
    }
  }

  it.each([
    ["user and group 1337, the default", {}, { uid: 1337, gid: 1337 }],
    ["user", { uid: 4001 }, { uid: 4001, gid: 4003 }],
    ["group", { gid: 4002 }, { uid: 4003, gid: 4002 }],
    ["cgroup", { cgroup }, { cgroup }],
  ] as const)("known by %s gets each connection once, and its own go out", async (_, identity, as) => {
    const { client, server, proxy } = await startPod(identity, as);
    const expected: string[] = [];
    for (const [near, far, direction] of [
      [server, client, "outbound"],
      [client, server, "inbound"],
    ] as const) {
      for (const address of [far.v4, far.v6]) {
        expect(await ask("python", near.path, address, 80)).toMatchObject({ server: "python", peer: [address, 80] });
        expected.push(`${direction} ${address} 80`);
      }
    }
    expect(proxy.lines).toEqual(expected);
    // What the proxy itself asks for, within the pod and outside (its control plane), does not come back to it.
    for (const address of [client.v4, client.v6, "127.0.0.1", "::1"]) {
      expect(await ask("python", server.path, address, 80, as), address).toMatchObject({ peer: [address, 80] });
    }
    expect(proxy.lines).toEqual(expected);
  });

  it("that answers the pod's call of a service with the pod itself enters the inbound port, once", async () => {
    const { server, proxy } = await startPod({}, { uid: 1337, gid: 1337 });
    for (const [vip, own] of [
      [VIPS.v4, server.v4],
      [VIPS.v6, server.v6],
    ] as const) {
      const seen = proxy.lines.length;
      expect(await ask("python", server.path, vip, 80)).toMatchObject({
        client: vip === VIPS.v4 ? "::ffff:127.0.0.6" : "::6",
        local: [vip === VIPS.v4 ? `::ffff:${own}` : own, 80],
        peer: [vip, 80],
      });
      expect(proxy.lines.slice(seen)).toEqual([`outbound ${vip} 80`, `inbound ${own} 80`]);
    }
    const seen = proxy.lines.length;
    for (const address of [server.v4, server.v6, "127.0.0.1", "::1"]) {
      expect(await ask("python", server.path, address, 80)).toMatchObject({ peer: [address, 80] });
    }
    expect(proxy.lines.slice(seen), "the application's own way to itself").toEqual([]);
  });
});
