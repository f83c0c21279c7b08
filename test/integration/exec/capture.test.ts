// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { ConnectionRecord } from "../../../src/proxy/connection-record.ts";
import { ExecRun, exec, leftovers } from "../../support/exec-run.ts";
import { HelloServer } from "../../support/hello-server.ts";
import { eventually } from "../../support/inbox.ts";
import { someOf } from "../../support/modes.ts";
import { NetLab } from "../../support/net-lab.ts";
import { runCommand } from "../../support/shunt.ts";

let lab: NetLab;
let own: HelloServer;
let far: HelloServer;
let within: string[];
beforeAll(async () => {
  lab = new NetLab("exec");
  const { client, server } = lab;
  within = ["nsenter", `--net=${client.path}`, "--"];
  own = await HelloServer.start(["127.0.0.1", "::1", client.v4, client.v6], client.path);
  far = await HelloServer.start([server.v4, server.v6], server.path);
});
afterAll(() => {
  own[Symbol.dispose]();
  far[Symbol.dispose]();
  lab[Symbol.dispose]();
});
afterEach(() => {
  own.clients.length = 0;
  far.clients.length = 0;
});

/** A proxy of the machine's must not come between. */
const env = { no_proxy: "*", NO_PROXY: "*" };

const PYTHON = `
import socket, sys
for host, port in zip(sys.argv[1::2], sys.argv[2::2]):
    with socket.create_connection((host, int(port)), timeout=20) as s:
        peer = s.getpeername()
        s.sendall(b"hi")
        data = b""
        while chunk := s.recv(100): data += chunk
        print(peer[0], peer[1], data[-5:].decode())
`;
const NODE = `
const net = require("node:net");
for (let i = 1; i < process.argv.length; i += 2) {
  const s = net.connect(Number(process.argv[i + 1]), process.argv[i], () => s.write("hi"));
  let all = "";
  s.on("data", (d) => (all += d)).on("end", () => console.log(s.remoteAddress, s.remotePort, all.slice(-5)));
}`;

/** Where each destination is, as programs take it. */
function destinations(): { address: string; server: HelloServer }[] {
  return [
    ...["127.0.0.1", "::1", lab.client.v4, lab.client.v6].map((address) => ({ address, server: own })),
    ...[lab.server.v4, lab.server.v6].map((address) => ({ address, server: far })),
  ];
}

/** Not even waiting to be reaped by an init that does not. */
function isAlive(pid: number): boolean {
  const file = `/proc/${pid}/stat`;
  return existsSync(file) && !/\) [ZX] /.test(readFileSync(file, "utf8"));
}

const seen = (records: readonly ConnectionRecord[]): string[] =>
  records.map((record) => String(record.originalDestination)).sort();
const endpoints = (): string[] =>
  destinations()
    .map(({ address, server }) => server.endpoint(address))
    .sort();

describe.each(someOf(["ebpf", "iptables"], "nftables"))("what exec captures in mode %s", (mode) => {
  const run = (argv: readonly string[], flags: readonly string[] = []) =>
    exec(["--mode", mode, ...flags, "--", ...argv], { within, env });

  it("is every connection of curl: loopback, own addresses and others, v4 and v6", async () => {
    const urls = destinations().map(({ address, server }) => server.url(address));
    const { status, out, err, records } = await run(["curl", "-sS", ...urls]);
    expect({ status, out, err }).toEqual({ status: 0, out: "hello".repeat(6), err: "" });
    expect(seen(records)).toEqual(endpoints());
    for (const record of records)
      expect(record).toMatchObject({
        direction: "outbound",
        upstream: record.originalDestination,
        outcome: "closed",
        interception: mode,
      });
  });

  it.each([
    ["python", (args: string[]) => ["python3", "-c", PYTHON, ...args]],
    ["node", (args: string[]) => [process.execPath, "-e", NODE, ...args]],
  ])("is every connection of %s, which sees the peer it asked for", async (_program, argv) => {
    const args = destinations().flatMap(({ address, server }) => [address, String(server.port(address))]);
    const { status, out, records } = await run(argv(args));
    expect(status).toBe(0);
    const lines = destinations().map(({ address, server }) => `${address} ${server.port(address)} hello`);
    expect(out.trim().split("\n").sort()).toEqual(lines.sort());
    expect(seen(records)).toEqual(endpoints());
  });

  it("is a v4 connection of a v6 socket", async () => {
    const script = `import socket, sys
s = socket.socket(socket.AF_INET6)
s.connect(("::ffff:" + sys.argv[1], int(sys.argv[2])))
print(s.getpeername()[0]); s.sendall(b"hi"); print(s.recv(100)[-5:].decode())`;
    const { out, records } = await run(["python3", "-c", script, lab.server.v4, String(far.port(lab.server.v4))]);
    expect(out).toBe(`::ffff:${lab.server.v4}\nhello\n`);
    expect(seen(records)).toEqual([far.endpoint(lab.server.v4)]);
  });

  it("is what forked and daemonised descendants do, who are waited for", async () => {
    const url = far.url(lab.server.v4);
    const curl = `curl -sS ${url}`;
    const script = `(${curl}; setsid sh -c 'sleep 0.3; ${curl}' </dev/null &) ; ${curl}; exit 4`;
    const { status, out, records } = await run(["sh", "-c", script]);
    expect({ status, out }).toEqual({ status: 4, out: "hello".repeat(3) });
    expect(records.length).toBe(3);
  });

  it("is nothing of any other process, in the same namespace at the same time", async () => {
    await using running = new ExecRun(["--mode", mode, "--", "sh", "-c", "echo ready; read line"], { within });
    await running.printed(/ready/);
    const { stdout } = await runCommand([...within, "curl", "-sS", own.url("127.0.0.1"), far.url(lab.server.v6)], {
      env,
    });
    expect(stdout).toBe("hellohello");
    running.child.stdin?.end("\n");
    expect((await running.outcome()).records).toEqual([]);
  });

  it("is no inbound connection: a server under exec serves as ever", async () => {
    const script = `import socket
s = socket.create_server((${JSON.stringify(lab.client.v4)}, 0))
print("port", s.getsockname()[1], flush=True)
for _ in range(2):
    c, a = s.accept(); print("from", a[0], flush=True); c.sendall(b"welcome"); c.close()`;
    await using running = new ExecRun(["--mode", mode, "--", "python3", "-c", script], { within });
    const [, port = ""] = await running.printed(/port (\d+)/);
    const client =
      "import socket, sys; print(socket.create_connection((sys.argv[1], int(sys.argv[2]))).recv(100).decode())";
    for (const netns of [lab.server.path, lab.client.path]) {
      const { stdout } = await runCommand(["python3", "-c", client, lab.client.v4, port], { netns });
      expect(stdout).toBe("welcome\n");
    }
    const { out, records } = await running.outcome();
    expect(out).toContain(`from ${lab.server.v4}\nfrom ${lab.client.v4}\n`);
    expect(records).toEqual([]);
  });

  it("is no datagram", async () => {
    const script = `import socket
a = socket.socket(type=socket.SOCK_DGRAM); a.bind(("127.0.0.1", 0))
b = socket.socket(type=socket.SOCK_DGRAM); b.connect(a.getsockname()); b.send(b"one")
c = socket.socket(type=socket.SOCK_DGRAM); c.sendto(b"two", a.getsockname())
print(a.recv(9).decode(), a.recv(9).decode(), b.getpeername() == a.getsockname())`;
    expect(await run(["python3", "-c", script])).toMatchObject({ status: 0, out: "one two True\n", records: [] });
  });

  it("is told of every connection that fails as well, before exec returns", async () => {
    const { status, records } = await run(["curl", "-sS", "-m", "20", `http://${lab.server.v4}:9/`]);
    expect(status).not.toBe(0);
    expect(records).toMatchObject([
      { originalDestination: `${lab.server.v4}:9`, outcome: "connect-failed", bytesSent: 0 },
    ]);
  });

  it("has a line for each of many connections when exec returns", async () => {
    const url = own.url("127.0.0.1");
    const { out, records } = await run(["sh", "-c", `curl -sS ${Array(100).fill(url).join(" ")}`]);
    expect(out).toBe("hello".repeat(100));
    expect(records.length).toBe(100);
    expect(new Set(records.map((record) => record.id)).size).toBe(100);
  });

  it("passes over loopback and own addresses with the preset istio", async () => {
    const urls = destinations().map(({ address, server }) => server.url(address));
    const { out, records } = await run(["curl", "-sS", ...urls], ["--preset", "istio"]);
    expect(out).toBe("hello".repeat(6));
    expect(seen(records)).toEqual([far.endpoint(lab.server.v4), far.endpoint(lab.server.v6)].sort());
  });

  it("ends descendants with CMD when told to", async () => {
    const command = ["sh", "-c", "setsid sleep 600 </dev/null >/dev/null 2>&1 & echo $!; exit 6"];
    await using running = new ExecRun(["--mode", mode, "--kill-descendants", "--", ...command], { within });
    const { status, out } = await running.outcome();
    expect(status).toBe(6);
    expect(isAlive(Number(out))).toBe(false);
    expect(leftovers(running.pid)).toEqual([]);
  });

  it("hands a signal to the descendants it waits for once CMD is gone", async () => {
    const command = ["sh", "-c", "setsid sleep 600 </dev/null >/dev/null 2>&1 & echo started $$ $!; exit 3"];
    await using running = new ExecRun(["--mode", mode, "--", ...command], { within });
    const [, cmd, descendant] = await running.printed(/started (\d+) (\d+)/);
    // The end of CMD is seen by shunt, which reaps it.
    await eventually(() => !existsSync(`/proc/${cmd}`));
    // Told twice at worst while shunt turns from the one to the other.
    await eventually(() => running.child.kill("SIGTERM") && !isAlive(Number(descendant)));
    expect((await running.outcome()).status).toBe(3);
  });
});
