// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { StatusReport } from "../../../src/config/formats/status.ts";
import type { ConnectionRecord } from "../../../src/proxy/connection-record.ts";
import { temporaryFolder } from "../../support/admin-fixture.ts";
import { ask, LabProcesses, tellServer } from "../../support/lab-process.ts";
import { type LabNode, NetLab } from "../../support/net-lab.ts";
import { runCommand, ShuntAgent, shunt, shuntArgv, uniqueName } from "../../support/shunt.ts";
import { TestCgroup } from "../../support/test-cgroup.ts";

const PORT = 8080;
const CLIENT = ["python3", join(import.meta.dirname, "../../support/programs/tell_client.py")];

/** Two namespaces, with a server in each that tells its clients how it sees them. */
class Rig implements AsyncDisposable {
  readonly lab = new NetLab();
  readonly processes = new LabProcesses();

  static async start(): Promise<Rig> {
    const rig = new Rig();
    for (const { v4, path } of [rig.lab.client, rig.lab.server])
      await rig.processes.start(tellServer("node", v4, [PORT]), path);
    return rig;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.processes[Symbol.asyncDispose]();
    this.lab[Symbol.dispose]();
  }
}

function ofNamespace({ path }: LabNode): Record<string, unknown> {
  return { mode: "ebpf", workloads: [{ name: "pod", netns: path }] };
}

/** Everything that goes out of the cgroup; in the namespace of this process nothing else may be touched. */
function ofCgroup({ path }: TestCgroup): Record<string, unknown> {
  const outbound = { port: 0, captureLoopback: true, captureLocal: true };
  return { mode: "ebpf", workloads: [{ name: "group", cgroup: path, outbound, inbound: { enabled: false } }] };
}

async function innerScopeCount(agent: ShuntAgent): Promise<number | undefined> {
  const { workloads } = await agent.ask<StatusReport>("status");
  return workloads[0]?.counters.outbound["inner-scope"];
}

/** Starts a server on loopback and says its port. */
async function localServer(processes: LabProcesses): Promise<number> {
  const server = await processes.start([
    "python3",
    "-c",
    `import http.server, json
class Tell(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(json.dumps({"client": self.client_address[0]}).encode())
    def log_message(self, *a): pass
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tell)
print("port", s.server_port, flush=True); print("ready", flush=True); s.serve_forever()`,
  ]);
  return Number((await server.line(/^port /)).slice(5));
}

interface Executed {
  readonly stdout: string;
  readonly records: readonly ConnectionRecord[];
}

/** `shunt exec` of a client as part of a longer command line. */
async function execClient(
  port: number,
  address: string,
  wrap: (argv: string[]) => string[],
  netns?: string,
): Promise<Executed> {
  using folder = temporaryFolder();
  const file = join(folder.path, "records");
  const argv = wrap(shuntArgv(["exec", "--record", file, "--", ...CLIENT, address, String(port)]));
  const { status, stdout, stderr } = await runCommand(argv, netns === undefined ? {} : { netns });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  const lines = existsSync(file) ? readFileSync(file, "utf8").split("\n").filter(Boolean) : [];
  return { stdout, records: lines.map((line) => JSON.parse(line) as ConnectionRecord) };
}

describe("two agents", () => {
  it("of the same name refuse each other by name and pid, and the first one goes on", async () => {
    await using rig = await Rig.start();
    const { client, server } = rig.lab;
    await using agent = await ShuntAgent.start(ofNamespace(client));
    const second = await shunt(["run", "--name", agent.name, "--workload-netns", server.path]);
    expect(second).toMatchObject({ status: 1, stdout: "" });
    expect(second.stderr).toContain(`agent "${agent.name}" is running already with pid ${agent.pid}`);
    expect((await agent.ask<StatusReport>("status")).agent.ready).toBe(true);
    expect(await ask("python", client.path, server.v4, PORT)).toMatchObject({ peer: [server.v4, PORT] });
    await agent.waitForRecords(() => true);
    await agent.stop();
  });

  it("of different namespaces run side by side, and each has its half of a connection", async () => {
    await using rig = await Rig.start();
    const { client, server } = rig.lab;
    await using one = await ShuntAgent.start(ofNamespace(client));
    await using other = await ShuntAgent.start(ofNamespace(server));
    expect(await ask("python", client.path, server.v4, PORT)).toMatchObject({ client: "127.0.0.6" });
    const originalDestination = `${server.v4}:${PORT}`;
    await one.waitForRecords(() => true);
    await other.waitForRecords(() => true);
    expect(one.records()).toMatchObject([{ direction: "outbound", originalDestination }]);
    expect(other.records()).toMatchObject([{ direction: "inbound", originalDestination }]);
    await one.stop();
    // The end of one changes nothing for the other.
    expect(await ask("python", client.path, server.v4, PORT)).toMatchObject({ client: "127.0.0.6" });
    await other.waitForRecords(() => true, 2);
    await other.stop();
  });

  it("do not share a namespace, whatever name it goes by", async () => {
    await using rig = await Rig.start();
    const { client } = rig.lab;
    await using processes = new LabProcesses();
    const inside = await processes.start(["sh", "-c", "echo ready; exec sleep 60"], client.path);
    await using agent = await ShuntAgent.start(ofNamespace(client));
    for (const flags of [
      ["--workload-netns", client.path],
      ["--workload-pid", String(inside.child.pid)],
    ]) {
      const name = uniqueName();
      const second = await shunt(["run", "--name", name, ...flags]);
      expect(second).toMatchObject({ status: 1, stdout: "" });
      expect(second.stderr).toMatch(/netns:\d+ is intercepted by agent/);
      expect(second.stderr).toContain(`by agent "${agent.name}", pid ${agent.pid}, already`);
      expect(existsSync(`/run/shunt/${name}`)).toBe(false);
    }
    // Nor does a reload get it.
    await using other = await ShuntAgent.start(ofNamespace(rig.lab.server));
    const outcome = await other.reconfigure(ofNamespace(client));
    expect(outcome.msg).toBe("configuration not applied, the old one stays in force");
    expect(JSON.stringify(outcome)).toContain(agent.name);
    await other.stop();
    await agent.stop();
  });

  it("started at once with one namespace: one of them gets it", async () => {
    await using rig = await Rig.start();
    const attempts = await Promise.allSettled([1, 2, 3].map(() => ShuntAgent.start(ofNamespace(rig.lab.client))));
    const started = attempts.flatMap((attempt) => (attempt.status === "fulfilled" ? [attempt.value] : []));
    const refused = attempts.flatMap((attempt) => (attempt.status === "rejected" ? [String(attempt.reason)] : []));
    for (const agent of started) {
      await using ended = agent;
      await ended.stop();
    }
    expect([started.length, refused.length]).toEqual([1, 2]);
    for (const reason of refused) expect(reason).toMatch(/netns:\d+ is intercepted by agent "[^"]+", pid \d+, already/);
  });
});

describe("where scopes overlap, the innermost cgroup decides:", () => {
  it("exec under an agent whose cgroup contains it", async () => {
    await using processes = new LabProcesses();
    await using cgroup = new TestCgroup();
    const port = await localServer(processes);
    await using agent = await ShuntAgent.start(ofCgroup(cgroup));
    const { records } = await execClient(port, "127.0.0.1", (argv) => cgroup.around(argv));
    expect(records).toMatchObject([{ originalDestination: `127.0.0.1:${port}`, outcome: "closed" }]);
    expect(await innerScopeCount(agent)).toBe(1);
    // The agent still has what is not the exec's.
    await runCommand(cgroup.around([...CLIENT, "127.0.0.1", String(port)]));
    await agent.waitForRecords(() => true);
    expect(agent.records()).toMatchObject([{ workload: "group", originalDestination: `127.0.0.1:${port}` }]);
    expect(await innerScopeCount(agent)).toBe(1);
    await agent.stop();
  });

  it("exec in a namespace that an agent intercepts", async () => {
    await using rig = await Rig.start();
    const { client, server } = rig.lab;
    await using agent = await ShuntAgent.start(ofNamespace(client));
    const { records, stdout } = await execClient(PORT, server.v4, (argv) => argv, client.path);
    expect(JSON.parse(stdout)).toMatchObject({ client: client.v4, peer: [server.v4, PORT] });
    expect(records).toMatchObject([{ originalDestination: `${server.v4}:${PORT}`, outcome: "closed" }]);
    expect(await innerScopeCount(agent)).toBe(1);
    await ask("python", client.path, server.v4, PORT);
    await agent.waitForRecords(() => true);
    expect(agent.records()).toMatchObject([{ workload: "pod", originalDestination: `${server.v4}:${PORT}` }]);
    await agent.stop();
  });

  it("exec under exec", async () => {
    await using processes = new LabProcesses();
    using folder = temporaryFolder();
    const outer = join(folder.path, "outer");
    const port = await localServer(processes);
    const { records } = await execClient(port, "127.0.0.1", (argv) =>
      shuntArgv(["exec", "--record", outer, "--", ...argv]),
    );
    expect(records).toMatchObject([{ originalDestination: `127.0.0.1:${port}`, outcome: "closed" }]);
    expect(readFileSync(outer, "utf8")).toBe("");
  });

  it("an agent of a cgroup below that of another agent, whichever came first", async () => {
    await using processes = new LabProcesses();
    await using outside = new TestCgroup();
    await using inside = new TestCgroup(outside);
    const port = await localServer(processes);
    for (const order of [
      [outside, inside],
      [inside, outside],
    ] as const) {
      await using first = await ShuntAgent.start(ofCgroup(order[0]));
      await using second = await ShuntAgent.start(ofCgroup(order[1]));
      const [outer, inner] = order[0] === outside ? [first, second] : [second, first];
      const told = await runCommand(inside.around([...CLIENT, "127.0.0.1", String(port)]));
      expect(JSON.parse(told.stdout)).toMatchObject({ peer: ["127.0.0.1", port] });
      await inner.waitForRecords(() => true);
      expect(inner.records()).toMatchObject([{ originalDestination: `127.0.0.1:${port}`, outcome: "closed" }]);
      expect(await innerScopeCount(outer)).toBe(1);
      await inner.stop();
      await outer.stop();
      expect(outer.records()).toEqual([]);
    }
  });
});
