// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ConnectionRecord } from "../../../src/proxy/connection-record.ts";
import { ExecRun, exec, leftovers } from "../../support/exec-run.ts";
import { HelloServer } from "../../support/hello-server.ts";
import { someOf } from "../../support/modes.ts";
import { NetLab } from "../../support/net-lab.ts";
import { runCommand, ShuntAgent } from "../../support/shunt.ts";

const SHUNT = [process.execPath, resolve(import.meta.dirname, "../../../dist/main.js")];
const env = { no_proxy: "*", NO_PROXY: "*" };
let lab: NetLab;
let own: HelloServer;
let far: HelloServer;
let folder = "";
let within: string[];
beforeAll(async () => {
  lab = new NetLab("side");
  within = ["nsenter", `--net=${lab.client.path}`, "--"];
  own = await HelloServer.start([lab.client.v4, "127.0.0.1"], lab.client.path);
  far = await HelloServer.start([lab.server.v4, lab.server.v6], lab.server.path);
  folder = mkdtempSync(join(tmpdir(), `shunt-test-${process.pid}-side-`));
});
afterAll(() => {
  own[Symbol.dispose]();
  far[Symbol.dispose]();
  lab[Symbol.dispose]();
  rmSync(folder, { recursive: true, force: true });
});

const seen = (records: readonly ConnectionRecord[]): string[] =>
  records.map((record) => String(record.originalDestination)).sort();

describe.each(someOf(["ebpf", "nftables"], "iptables"))("several exec in mode %s", (mode) => {
  it("at the same time, with one configuration file, each have their own connections", async () => {
    const file = join(folder, "one.yaml");
    writeFileSync(file, "name: same\noutbound:\n  captureLocal: true\n");
    const script = 'echo ready; read go; curl -sS "$@"; echo; echo done; read end';
    const start = (url: string) =>
      new ExecRun(["--mode", mode, "--config", file, "--", "sh", "-c", script, "sh", url], { within, env });
    await using one = start(far.url(lab.server.v4));
    await using two = start(far.url(lab.server.v6));
    await Promise.all([one.printed(/ready/), two.printed(/ready/)]);
    for (const run of [one, two]) run.child.stdin?.write("go\n");
    await Promise.all([one.printed(/hello\ndone/), two.printed(/hello\ndone/)]);
    // One ends; the other is intercepted as before.
    one.child.stdin?.end("end\n");
    expect(seen((await one.outcome()).records)).toEqual([far.endpoint(lab.server.v4)]);
    two.child.stdin?.end("end\n");
    expect(seen((await two.outcome()).records)).toEqual([far.endpoint(lab.server.v6)]);
    expect([...leftovers(one.pid), ...leftovers(two.pid)]).toEqual([]);
  });

  it("inside one another intercept once, the innermost", async () => {
    const inner = join(folder, `inner-${mode}.jsonl`);
    const script = `curl -sS ${far.url(lab.server.v4)}; "$@" curl -sS ${far.url(lab.server.v6)} ${own.url("127.0.0.1")}`;
    const nested = [...SHUNT, "exec", "--mode", mode, "--record", inner, "--"];
    const { status, out, records } = await exec(["--mode", mode, "--", "sh", "-c", script, "sh", ...nested], {
      within,
      env,
    });
    expect({ status, out }).toEqual({ status: 0, out: "hello".repeat(3) });
    expect(seen(records)).toEqual([far.endpoint(lab.server.v4)]);
    const { stdout } = await runCommand(["cat", inner]);
    const lines = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as ConnectionRecord);
    expect(seen(lines)).toEqual([far.endpoint(lab.server.v6), own.endpoint("127.0.0.1")].sort());
  });

  it("under a running agent of the namespace intercept alone", async () => {
    const workload = { name: "app", netns: lab.client.netns, inbound: { enabled: false } };
    await using agent = await ShuntAgent.start({ mode, workers: 1, workloads: [workload] });
    const { out, records } = await exec(["--mode", mode, "--", "curl", "-sS", far.url(lab.server.v4)], { within, env });
    expect(out).toBe("hello");
    expect(seen(records)).toEqual([far.endpoint(lab.server.v4)]);
    await runCommand([...within, "curl", "-sS", far.url(lab.server.v6)], { env });
    await agent.stop();
    expect(seen(agent.records())).toEqual([far.endpoint(lab.server.v6)]);
  });
});

describe.each(someOf(["ebpf", "iptables"], "mixed", "nftables"))("exec --netns in mode %s", (mode) => {
  it("runs CMD in the namespace and captures there, by name and by path", async () => {
    for (const netns of [lab.client.netns, lab.client.path]) {
      const flags = ["--mode", mode, "--netns", netns, "--"];
      const { out, records } = await exec([...flags, "curl", "-sS", far.url(lab.server.v4), own.url("127.0.0.1")], {
        env,
      });
      expect(out).toBe("hellohello");
      expect(seen(records)).toEqual([far.endpoint(lab.server.v4), own.endpoint("127.0.0.1")].sort());
    }
  });

  it("takes inbound connections to the ports of --inbound and to no other", async () => {
    const script = `import socket
a = socket.create_server(("${lab.client.v4}", 0)); b = socket.create_server(("${lab.client.v4}", 8123))
print("port", a.getsockname()[1], flush=True)
for s in (a, b):
    c, peer = s.accept(); print("from", peer[0], flush=True); c.sendall(b"hi"); c.close()`;
    const flags = ["--mode", mode, "--netns", lab.client.netns, "--inbound", "8123", "--"];
    await using run = new ExecRun([...flags, "python3", "-c", script]);
    const [, port = ""] = await run.printed(/port (\d+)/);
    const client =
      "import socket, sys; print(socket.create_connection((sys.argv[1], int(sys.argv[2]))).recv(9).decode())";
    for (const to of [port, "8123"]) {
      const { stdout } = await runCommand(["python3", "-c", client, lab.client.v4, to], { netns: lab.server.path });
      expect(stdout).toBe("hi\n");
    }
    const { status, out, records } = await run.outcome();
    expect({ status, out }).toMatchObject({ status: 0, out: `port ${port}\nfrom ${lab.server.v4}\nfrom 127.0.0.6\n` });
    expect(records).toMatchObject([
      { direction: "inbound", originalDestination: `${lab.client.v4}:8123`, outcome: "closed" },
    ]);
    expect(leftovers(run.pid)).toEqual([]);
    const { stdout: addresses } = await runCommand(["ip", "-n", lab.client.netns, "addr", "show", "lo"]);
    expect(addresses).not.toContain("::6/128");
  });
});
