// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Flow } from "../../../src/config/formats/flow.ts";
import { recordSchema } from "../../../src/config/formats/record.ts";
import { type StatusReport, statusSchema } from "../../../src/config/formats/status.ts";
import { NetworkNamespace } from "../../../src/intercept/network-namespace.ts";
import { temporaryFolder } from "../../support/admin-fixture.ts";
import { LabProcesses } from "../../support/lab-process.ts";
import { NetLab } from "../../support/net-lab.ts";
import { ShuntAgent, uniqueName } from "../../support/shunt.ts";
import { TcpPeer, TcpServer } from "../../support/tcp-peer.ts";
import { TestCgroup } from "../../support/test-cgroup.ts";

const PORT = 8080;

/** Two namespaces with an echo server in the second, in this process. */
class Rig implements AsyncDisposable {
  readonly lab = new NetLab();
  readonly client = new NetworkNamespace(this.lab.client.path);
  readonly #serverNetns = new NetworkNamespace(this.lab.server.path);
  readonly server = new TcpServer({ address: this.lab.server.v4, port: PORT, netnsFd: this.#serverNetns.fd }).echo();

  get config() {
    return { mode: "ebpf", workloads: [{ name: "pod", netns: this.lab.client.path }] };
  }

  /** A connection of the pod that has carried bytes both ways. */
  async connect(): Promise<TcpPeer> {
    const peer = await TcpPeer.connect({ address: this.lab.server.v4, port: PORT, netnsFd: this.client.fd });
    await peer.write("x").bytes(1);
    return peer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
    this.client[Symbol.dispose]();
    this.#serverNetns[Symbol.dispose]();
    this.lab[Symbol.dispose]();
  }
}

async function statusOf(agent: ShuntAgent): Promise<StatusReport> {
  return statusSchema.parse(await agent.ask("status"));
}

function notInterceptedBy(agent: ShuntAgent): Promise<number | undefined> {
  return statusOf(agent).then(({ workloads }) => workloads[0]?.notIntercepted);
}

/** Asks until the answer is as wanted; each answer takes the time of a command. */
async function untilNotIntercepted(agent: ShuntAgent, wanted: number): Promise<void> {
  for (let attempt = 0; attempt < 20; attempt++) if ((await notInterceptedBy(agent)) === wanted) return;
  expect(await notInterceptedBy(agent)).toBe(wanted);
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

type Where = { readonly socketPath: string } | { readonly host: string; readonly port: number };

function get(where: Where, path: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ ...where, path }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (text: string) => (body += text));
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, type: response.headers["content-type"] ?? "", body }),
      );
    });
    asked.on("error", reject);
    asked.end();
  });
}

describe("connections from before the enrolment", () => {
  it("of a namespace are counted as long as they live, and still work", async () => {
    await using rig = new Rig();
    const [first, second] = [await rig.connect(), await rig.connect()];
    await using agent = await ShuntAgent.start(rig.config);
    expect(await notInterceptedBy(agent)).toBe(2);
    const intercepted = await rig.connect();
    expect((await statusOf(agent)).workloads[0]).toMatchObject({
      notIntercepted: 2,
      connections: { active: 1, total: 1 },
      counters: { outbound: { "all-included": 1 } },
    });
    expect((await first.write("still").bytes(6)).toString()).toBe("xstill");
    first.reset();
    await untilNotIntercepted(agent, 1);
    second.reset();
    await untilNotIntercepted(agent, 0);
    intercepted.reset();
    await agent.waitForRecords(() => true);
    await agent.stop();
  });

  it("of a cgroup are counted, and not those of others in its namespace", async () => {
    await using cgroup = new TestCgroup();
    await using processes = new LabProcesses();
    await using server = new TcpServer().echo();
    const code = `import socket, sys
s = socket.create_connection(("127.0.0.1", ${server.port})); print("ready", flush=True); sys.stdin.read()`;
    const inside = await processes.start(cgroup.around(["python3", "-c", code]));
    const outside = await TcpPeer.connect({ address: "127.0.0.1", port: server.port });
    await using agent = await ShuntAgent.start({
      mode: "ebpf",
      workloads: [{ name: "some", cgroup: cgroup.path, outbound: { port: 0 }, inbound: { enabled: false } }],
    });
    expect(await notInterceptedBy(agent)).toBe(1);
    inside.child.stdin?.end();
    await untilNotIntercepted(agent, 0);
    outside.reset();
    await agent.stop();
  });
});

describe("the admin server", () => {
  it("answers on its unix socket and, when asked, on TCP", async () => {
    await using rig = new Rig();
    await using agent = await ShuntAgent.start(rig.config, { flags: ["--admin", "127.0.0.1:0"] });
    const { port } = await agent.waitForLog(({ msg }) => msg === "admin server listens");
    const peer = await rig.connect();
    peer.end();
    await agent.waitForRecords(({ outcome }) => outcome === "closed");
    for (const where of [
      { socketPath: `/run/shunt/${agent.name}/admin.sock` },
      { host: "127.0.0.1", port: Number(port) },
    ]) {
      expect(await get(where, "/ready")).toMatchObject({ status: 200, body: "traffic is intercepted\n" });
      const metrics = await get(where, "/metrics");
      expect(metrics.type).toBe("text/plain; version=0.0.4; charset=utf-8");
      expect(metrics.body.split("\n")).toEqual(
        expect.arrayContaining([
          "shunt_ready 1",
          'shunt_workload_info{workload="pod",mode="ebpf"} 1',
          'shunt_verdicts_total{workload="pod",direction="outbound",reason="all-included"} 1',
          "shunt_connections_active 0",
          "shunt_connections_total 1",
          'shunt_connections_ended_total{outcome="closed"} 1',
          "shunt_bytes_sent_total 1",
          'shunt_worker_restarts_total{worker="1"} 0',
        ]),
      );
      const config = JSON.parse((await get(where, "/config")).body) as Record<string, unknown>;
      expect(config).toMatchObject({ name: agent.name, workers: 2, workloads: [{ name: "pod", failMode: "deny" }] });
      statusSchema.parse(JSON.parse((await get(where, "/status")).body));
      expect((await get(where, "/nothing")).status).toBe(404);
    }
    await agent.stop();
    await expect(get({ host: "127.0.0.1", port: Number(port) }, "/ready")).rejects.toThrow("ECONNREFUSED");
  });

  it("has the metrics that docs/metrics.md lists, with these types and labels, and no other", async () => {
    await using rig = new Rig();
    await using agent = await ShuntAgent.start({ ...rig.config, acceleration: { mode: "auto" } });
    await agent.waitForLog(({ msg, contract }) => msg === "acceleration" && contract !== undefined);
    (await rig.connect()).end();
    await agent.waitForRecords(({ outcome }) => outcome === "closed");
    const { body } = await get({ socketPath: `/run/shunt/${agent.name}/admin.sock` }, "/metrics");
    const families = [...body.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name = "", type]) => {
      const samples = body.split("\n").filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
      const labels = samples.map((sample) => [...sample.matchAll(/(\w+)="/g)].map(([, label]) => label).join(" "));
      return [name, type, ...new Set(labels)];
    });
    const text = readFileSync(join(import.meta.dirname, "../../../docs/metrics.md"), "utf8");
    const documented = [...text.matchAll(/^\| `(shunt_\w+)` \| (\w+) \| ([^|]*) \|/gm)];
    expect(families).toEqual(
      documented.map(([, name, type, labels]) => [name, type, labels?.replaceAll(/[`,–]/g, "") ?? ""]),
    );
    await agent.stop();
  });

  it("tells of a workload with neither direction, and of one that is asked for and not in force", async () => {
    await using rig = new Rig();
    const off = { enabled: false };
    const pod = rig.config.workloads[0];
    const idle = { mode: "ebpf", workloads: [{ ...pod, outbound: off, inbound: off }] };
    await using agent = await ShuntAgent.start(idle);
    const [first] = (await statusOf(agent)).workloads;
    expect(first).toMatchObject({ outbound: "off", inbound: "off" });
    expect(first?.problem).toBe("neither direction is enabled: nothing is intercepted");

    const absent = { name: "absent", netns: `/run/netns/${uniqueName("absent")}` };
    await agent.reconfigure({ mode: "ebpf", workloads: [pod, absent] });
    const { agent: told, workloads } = await statusOf(agent);
    expect(told.ready).toBe(false);
    expect(workloads.map(({ name, mode, outbound }) => [name, mode, outbound])).toEqual([
      ["pod", "ebpf", "ebpf"],
      ["absent", "none", "off"],
    ]);
    expect(workloads.map(({ problem }) => problem)).toEqual([undefined, expect.stringContaining(absent.netns)]);
    await agent.stop();
  });

  it("shows a connection while it lives, and the same one in the record", async () => {
    await using rig = new Rig();
    await using agent = await ShuntAgent.start(rig.config);
    const peer = await rig.connect();
    const [source, originalDestination] = [`127.0.0.1:${peer.localPort}`, `${rig.lab.server.v4}:${PORT}`];
    const flow = await agent.ask<Flow>("flows", ["--once"]);
    expect(flow).toMatchObject({
      state: "open",
      workload: "pod",
      direction: "outbound",
      source,
      originalDestination,
      upstream: originalDestination,
      interception: "ebpf",
      bytesSent: 1,
    });
    peer.end();
    const [record] = await agent.waitForRecords(() => true);
    expect(recordSchema.parse(record)).toMatchObject({ id: flow.id, source, outcome: "closed", bytesSent: 1 });
    await expect(agent.ask("flows", ["--once"])).rejects.toThrow("JSON");
    await agent.stop();
  });
});

describe("a service manager", () => {
  const RECEIVER = `import socket, sys
path = sys.argv[1]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("\\0" + path[1:] if path.startswith("@") else path)
print("ready", flush=True)
while True: print(s.recv(4096).decode().strip(), flush=True)`;

  it.each(["path", "abstract name"])("hears when the agent is ready and when it stops, by %s", async (kind) => {
    using folder = temporaryFolder();
    await using rig = new Rig();
    await using processes = new LabProcesses();
    const socket = kind === "path" ? join(folder.path, "notify") : `@${uniqueName("notify")}`;
    const receiver = await processes.start(["python3", "-c", RECEIVER, socket]);
    await using agent = await ShuntAgent.start(rig.config, { env: { NOTIFY_SOCKET: socket } });
    await receiver.line(/^READY=1$/);
    expect(receiver.lines).toEqual(["READY=1"]);
    await agent.stop();
    await receiver.line(/^STOPPING=1$/);
  });

  it("that does not listen keeps no agent from running", async () => {
    await using rig = new Rig();
    await using agent = await ShuntAgent.start(rig.config, { env: { NOTIFY_SOCKET: "/run/shunt-test-nobody" } });
    await agent.waitForLog(({ msg }) => msg === "service manager not notified");
    expect((await statusOf(agent)).agent.ready).toBe(true);
    await agent.stop();
  });
});
