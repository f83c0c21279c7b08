// SPDX-License-Identifier: Apache-2.0
/** Which programs are handed bytes past the proxies, as the agent finds out by itself. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, type TestContext } from "vitest";
import { findCommand } from "../../../scripts/setup/machine.mjs";
import { CompiledPrograms } from "../../support/compiled-programs.ts";
import { libraryPath, type Unpacked, unpackPackage } from "../../support/deb-cache.ts";
import { patienceMs } from "../../support/inbox.ts";
import { python } from "../../support/lab-process.ts";
import { load } from "../../support/load.ts";
import { type Peer, peerBinary } from "../../support/peers.ts";
import { PodPair } from "../../support/pod-pair.ts";
import { runCommand } from "../../support/shunt.ts";

const PROGRAMS = join(import.meta.dirname, "../../support/programs");
const ECHO = join(import.meta.dirname, "../../../addon/tools/shunt-echo.c");
const REQUESTS = 400;
const direct = { sent: "direct", received: "direct", reason: "none" };
const copied = (reason: string) => ({ sent: "copy", received: "copy", reason });

let pair: PodPair;
let compiled: CompiledPrograms;
let port = 9100;
beforeAll(async () => {
  compiled = new CompiledPrograms();
  pair = await PodPair.start({
    mode: "ebpf",
    client: {},
    server: {},
    agent: { acceleration: { mode: "auto", paths: ["direct"] } },
  });
  await pair.agent.waitForLog(({ msg, state }) => msg === "acceleration" && state === "on");
});
afterAll(async () => {
  await pair?.[Symbol.asyncDispose]();
  compiled?.[Symbol.dispose]();
});

/** Starts a server in the server's namespace, for the next port. */
async function serve(argv: (address: string, port: string) => readonly string[]): Promise<number> {
  port++;
  const { server } = pair.lab;
  await pair.processes.start(argv(server.v4, String(port)), server.path);
  return port;
}

/** Waits until somebody listens; for programs that do not say so. */
function announced(argv: readonly string[], own: number): string[] {
  const wait = `until ss -Hltn "sport = :${own}" | grep -q .; do kill -0 $! || exit 1; sleep 0.05; done`;
  // Killed with the shell: a program with workers would go on by itself.
  return ["sh", "-c", `setpriv --pdeathsig TERM "$@" & ${wait}; echo ready; wait`, "sh", ...argv];
}

/** What the record of the server's side says of connections that the work makes. */
async function observed(own: number, work: () => Promise<unknown>) {
  const from = pair.agent.records().length;
  await work();
  await pair.agent.waitForRecords(() => true, from + 2);
  const records = pair.agent.records().slice(from);
  return records.find((r) => r.workload === "server" && r.originalDestination?.endsWith(`:${own}`))?.acceleration;
}

const echoed = (own: number) =>
  observed(own, async () => {
    const report = await load(pair.lab.client, pair.lab.server.v4, own, "rr", "-n", String(REQUESTS), "-s", "100");
    expect(report).toMatchObject({ status: 0, errors: 0, bytesReceived: REQUESTS * 100 });
  });

const asked = (own: number) =>
  observed(own, async () => {
    const argv = [process.execPath, join(PROGRAMS, "http-asker.mjs"), `http://${pair.lab.server.v4}:${own}/`, "200"];
    const { stdout, stderr } = await runCommand(argv, { netns: pair.lab.client.path });
    expect(stdout, stderr).not.toBe("");
    expect(JSON.parse(stdout)).toEqual({ answers: { "hello\n": 200 }, connections: 1 });
  });

describe("a server that polls and reads", () => {
  let nginx: Unpacked;
  let peer: Peer;
  beforeAll(async () => {
    nginx = await unpackPackage("nginx");
    peer = await peerBinary("haproxy");
  }, patienceMs(300_000));

  it("is found out in Node", async () => {
    const own = await serve((address, p) => [process.execPath, join(PROGRAMS, "http-echo.mjs"), address, p]);
    expect(await asked(own)).toEqual(direct);
  });

  it("is found out in nginx with deferred accept", async (context: TestContext) => {
    if (!nginx.ok) return context.skip(nginx.reason);
    const { root } = nginx;
    const folder = join(compiled.folder, "nginx");
    mkdirSync(join(folder, "logs"), { recursive: true });
    const own = await serve((address, p) => {
      const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
        (t) => `${t}_temp_path ${folder}/${t};`,
      );
      writeFileSync(
        join(folder, "nginx.conf"),
        `user root; pid ${folder}/pid; error_log ${folder}/error; worker_processes 2; daemon off; events {}
http { access_log off; ${temporary.join(" ")} server { listen ${address}:${p} deferred; location / { return 200 "hello\\n"; } } }`,
      );
      const program = join(root, "usr/sbin/nginx");
      const argv = [program, "-p", folder, "-c", join(folder, "nginx.conf")];
      return announced(["env", `LD_LIBRARY_PATH=${libraryPath(root)}`, ...argv], Number(p));
    });
    expect(await asked(own)).toEqual(direct);
  });

  const haproxy = async (context: TestContext, option: string) => {
    if (!peer.ok) return context.skip(peer.reason);
    const { command, env } = peer;
    const own = await serve((address, p) => {
      const file = join(compiled.folder, `haproxy-${p}.cfg`);
      writeFileSync(
        file,
        `defaults
  mode http
  timeout client 60s
  timeout connect 60s
  timeout server 60s
  ${option}
frontend f
  bind ${address}:${p}
  # Nothing of splice-auto in a comment.
  http-request return status 200 content-type text/plain string "hello\\n"
`,
      );
      const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
      return announced(["env", ...variables, command, "-W", "-f", file], Number(p));
    });
    return asked(own);
  };

  it("is found out in HAProxy, which has splice and does not use it", async (context) => {
    expect(await haproxy(context, "")).toEqual(direct);
  });

  it("is not what HAProxy is with splice-auto", async (context) => {
    expect(await haproxy(context, "option splice-auto")).toEqual(copied("may-splice"));
  });
});

describe("a program that may call splice", () => {
  it.each(["recv", "splice"])("is copied, a Python that reads with %s", async (reader) => {
    const own = await serve((address, p) => python("polling_echo.py", address, p, reader));
    expect(await echoed(own)).toEqual(copied("may-splice"));
  });
});

const compiler = findCommand("cc");
describe.skipIf(compiler === undefined)(`C programs${compiler === undefined ? " (skipped without cc)" : ""}`, () => {
  it("are copied where nothing can be seen in them: linked statically, stripped", async () => {
    const program = await compiled.compileC("static-echo", ECHO, "-static", "-s");
    const own = await serve((address, p) => [program, address, p, "--until-stdin-closes"]);
    expect(await echoed(own)).toEqual(copied("program-unknown"));
  });

  let odd = "";
  beforeAll(async () => {
    odd = await compiled.compileC("odd-reader", join(PROGRAMS, "odd_reader.c"));
  });
  const habit = async (name: string, reads: number) =>
    echoed(await serve((address, p) => [odd, address, p, name, String(reads)]));

  it("that only poll and read hand over everything", async () => {
    expect(await habit("none", 0)).toEqual(direct);
  });

  it.each([
    ["zero-copy", "zero-copy"],
    ["urgent-inline", "urgent-inline"],
    ["timestamps", "timestamps"],
    ["blocking", "blocking"],
  ])("that ask %s of their socket at first are copied", async (option, reason) => {
    expect(await habit(option, 0)).toEqual(copied(reason));
  });

  it.each([
    ["zero-copy", "zero-copy"],
    ["urgent-inline", "urgent-inline"],
    ["timestamps", "timestamps"],
    ["blocking", "blocking"],
    ["low-water", "receive-low-water"],
  ])("that ask %s of their socket later get no more past the proxy", async (option, reason) => {
    const from = pair.agent.records().length;
    await habit(option, 100);
    const ends = pair.agent.records().slice(from);
    expect(ends.map(({ acceleration }) => acceleration?.reason)).toContain(reason);
  });

  it("that do not want to read for a while, though they run, go on afterwards", async () => {
    const from = pair.agent.logged.length;
    expect(await habit("pause", 100)).toEqual(direct);
    expect(pair.agent.logged.slice(from).filter(({ program }) => program !== undefined)).toEqual([]);
  });

  it("that splice by a system call of their own are noticed, and get nothing any more", async () => {
    const program = await compiled.compileC("hidden-splicer", join(PROGRAMS, "odd_reader.c"));
    const start = (address: string, p: string) => [program, address, p, "splice", "100"];
    const { client, server } = pair.lab;
    port++;
    const stuck = await pair.processes.start(start(server.v4, String(port)), server.path);
    const running = load(client, server.v4, port, "rr", "-n", String(REQUESTS), "-s", "100");
    const noticed = await pair.agent.waitForLog((line) => line["program"] === program);
    expect(noticed).toMatchObject({ msg: "a program leaves redirected bytes unread while it runs: it gets no more" });
    stuck.child.kill("SIGKILL");
    expect((await running).errors).toBeGreaterThan(0);
    // What TCP brings can be spliced.
    expect(await echoed(await serve(start))).toEqual(copied("withdrawn"));
  });
});
