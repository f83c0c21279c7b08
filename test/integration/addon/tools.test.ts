// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { type AddressInfo, createServer, type Server } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, describe, expect, it } from "vitest";
import { addonPath, eventually, patience } from "../../support/addon-fixture.ts";

const echoPath = join(addonPath, "../shunt-echo");
const loadPath = join(addonPath, "../shunt-load");

interface Report {
  requests: number;
  allRequests: number;
  distribution: [number, number][];
  errors: number;
  bytesSent: number;
  bytesReceived: number;
  mismatches: number;
  firstBadOffset: number | null;
  firstError: string | null;
  p50: number;
  p999: number;
  rate: number;
}

describe("the load generator and the echo server", () => {
  const children: ChildProcess[] = [];
  const servers: Server[] = [];
  afterEach(() => {
    for (const child of children.splice(0)) child.stdin?.end();
    for (const server of servers.splice(0)) server.close();
  });

  /** Starts shunt-echo and gives the port of its `ready` line. */
  async function echo(address: string, ...options: string[]): Promise<string> {
    const child = spawn(echoPath, [address, "0", "--until-stdin-closes", ...options], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    children.push(child);
    const [line] = await new Promise<[string]>((resolve) =>
      createInterface(child.stdout as NodeJS.ReadableStream).once("line", (...found: [string]) => resolve(found)),
    );
    const [, name, port] = /^ready (\S+) (\d+)$/.exec(line) ?? [];
    expect(name).toBe(address);
    return port ?? "";
  }

  /** Asynchronous, because some of the servers are in this process. */
  function load(...options: string[]): Promise<{ status: number | null; report: Report }> {
    const child = spawn(loadPath, options, { stdio: ["ignore", "pipe", "inherit"], timeout: 30_000 * patience });
    let output = "";
    child.stdout.on("data", (data) => (output += data));
    return new Promise((resolve) => child.on("close", (status) => resolve({ status, report: JSON.parse(output) })));
  }

  /** A server in this process that answers each connection with `reply` of what came. */
  async function serve(reply: (chunk: Buffer, offset: number) => Buffer): Promise<string> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      let offset = 0;
      socket.on("data", (chunk) => {
        socket.write(reply(chunk, offset));
        offset += chunk.length;
      });
      socket.on("end", () => socket.end()).on("error", () => {});
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return String((server.address() as AddressInfo).port);
  }

  for (const address of ["127.0.0.1", "::1"]) {
    it(`run every test against ${address} without an error`, async () => {
      const port = await echo(address);
      const rr = await load(address, port, "rr", "-c", "8", "-n", "2000", "-s", "100");
      expect(rr).toMatchObject({
        status: 0,
        report: { requests: 2000, errors: 0, bytesSent: 200_000, bytesReceived: 200_000 },
      });
      expect(rr.report.p50).toBeGreaterThan(0);
      expect(rr.report.p999).toBeGreaterThanOrEqual(rr.report.p50);
      const size = 20_000_000;
      expect(await load(address, port, "bulk", "-c", "2", "-n", String(size))).toMatchObject({
        status: 0,
        report: { errors: 0, bytesSent: size, bytesReceived: size },
      });
      expect(await load(address, port, "connect", "-c", "4", "-n", "200")).toMatchObject({
        status: 0,
        report: { requests: 200, errors: 0 },
      });
      expect(await load(address, port, "rst", "-c", "4", "-n", "100")).toMatchObject({
        status: 0,
        report: { requests: 100, errors: 0 },
      });
      expect(await load(address, port, "verify", "-c", "10", "-s", "1000003")).toMatchObject({
        status: 0,
        report: { requests: 10, errors: 0, mismatches: 0, firstBadOffset: null, bytesReceived: 10_000_030 },
      });
      expect(await load(address, port, "rr", "-d", "0.2")).toMatchObject({ status: 0, report: { errors: 0 } });
    });
  }

  it("have a blocking form", async () => {
    const port = await echo("127.0.0.1");
    for (const [test, ...options] of [
      ["rr", "-n", "500"],
      ["connect", "-n", "50"],
      ["verify", "-s", "300001"],
      ["rst", "-n", "50"],
    ] as const) {
      expect(await load("127.0.0.1", port, test, "-c", "3", "--blocking", ...options)).toMatchObject({
        status: 0,
        report: { errors: 0, mismatches: 0 },
      });
    }
    const blocking = await echo("127.0.0.1", "--blocking");
    expect(await load("127.0.0.1", blocking, "verify", "--blocking", "-n", "3")).toMatchObject({
      status: 0,
      report: { requests: 3, mismatches: 0 },
    });
  });

  it("find one wrong byte, a missing end and a surplus, and say where", async () => {
    const flip = await serve((chunk, offset) => {
      const at = 70_001 - offset;
      if (at >= 0 && at < chunk.length) chunk[at] = (chunk[at] ?? 0) ^ 1;
      return chunk;
    });
    expect(await load("127.0.0.1", flip, "verify", "-s", "100000")).toMatchObject({
      status: 1,
      report: { mismatches: 1, firstBadOffset: 70_001 },
    });
    const cut = await serve((chunk, offset) => chunk.subarray(0, Math.max(0, 50_000 - offset)));
    expect(await load("127.0.0.1", cut, "verify", "-s", "100000")).toMatchObject({
      status: 1,
      report: { mismatches: 1, firstBadOffset: 50_000 },
    });
    const surplus = await serve((chunk, offset) =>
      offset + chunk.length === 100_000 ? Buffer.concat([chunk, Buffer.of(1)]) : chunk,
    );
    const { status, report } = await load("127.0.0.1", surplus, "verify", "-s", "100000");
    expect([status, report.firstBadOffset]).toEqual([1, 100_000]);
  });

  it("count a reset, a refusal and a silence as errors and stop", async () => {
    const reset = await echo("127.0.0.1", "--reset");
    expect(await load("127.0.0.1", reset, "rr", "-n", "1")).toMatchObject({
      status: 1,
      report: { errors: 1, firstError: expect.stringContaining("Connection reset") },
    });
    expect(await load("127.0.0.1", "1", "connect", "-n", "3")).toMatchObject({
      status: 1,
      report: { errors: 3, firstError: "connect: Connection refused" },
    });
    const silent = await serve(() => Buffer.alloc(0));
    expect(await load("127.0.0.1", silent, "rr", "-n", "1", "--idle", "0.3")).toMatchObject({
      status: 1,
      report: { errors: 1, firstError: "idle: Connection timed out" },
    });
    expect(await load("127.0.0.1", silent, "rr", "-n", "1", "--idle", "0.3", "--blocking")).toMatchObject({
      status: 1,
      report: { errors: 1 },
    });
  });

  it("sink, source and checksum", async () => {
    const sink = await echo("127.0.0.1", "--mode", "sink");
    expect(await load("127.0.0.1", sink, "bulk", "-n", "5000000")).toMatchObject({
      status: 0,
      report: { bytesSent: 5_000_000, bytesReceived: 0 },
    });
    const source = await echo("127.0.0.1", "--mode", "source", "--bytes", "3000000");
    expect(await load("127.0.0.1", source, "bulk", "--receive")).toMatchObject({
      status: 0,
      report: { bytesReceived: 3_000_000, errors: 0 },
    });
    const endless = await echo("127.0.0.1", "--mode", "source");
    expect(await load("127.0.0.1", endless, "bulk", "--receive", "-d", "0.3")).toMatchObject({
      status: 0,
      report: { errors: 0 },
    });
    const checksum = await echo("127.0.0.1", "--mode", "checksum");
    const answer = spawnSync(
      process.execPath,
      [
        "-e",
        `
      const socket = require("net").connect({ port: ${checksum}, host: "127.0.0.1", allowHalfOpen: true }, () => socket.end("hello"));
      socket.pipe(process.stdout);`,
      ],
      { encoding: "utf8", timeout: 20_000 * patience },
    );
    // FNV-1a 64 of "hello".
    expect(answer.stdout).toBe("5 a430d84680aabd0b\n");
  });

  it("end: the server with its standard input, after -n connections, after -d", async () => {
    await echo("127.0.0.1");
    children[0]?.stdin?.end();
    await eventually("exit", () => children[0]?.exitCode === 0);
    const ended = spawnSync(echoPath, ["127.0.0.1", "0", "-d", "0.2"], { timeout: 5000 * patience });
    expect(ended.status).toBe(0);
    const counted = spawn(echoPath, ["::1", "0", "-n", "2"], { stdio: ["ignore", "pipe", "inherit"] });
    const line = await new Promise<string>((resolve) => createInterface(counted.stdout).once("line", resolve));
    await load("::1", line.split(" ")[2] ?? "", "connect", "-n", "2");
    await eventually("exit", () => counted.exitCode === 0);
  });

  it("refuse wrong arguments with status 2, naming flag and value, and answer --help", () => {
    for (const [path, args, message] of [
      [loadPath, ["127.0.0.1", "80", "rr", "-n", "x1"], "shunt-load: -n x1: must be an integer"],
      [loadPath, ["127.0.0.1", "80", "rr", "-c", "0"], "-c 0: must be an integer from 1 to 60000"],
      [loadPath, ["127.0.0.1", "80", "rr", "-d", "-1"], "-d -1: must be seconds"],
      [loadPath, ["127.0.0.1", "80", "rr", "-n"], "-n: needs a value"],
      [loadPath, ["127.0.0.1", "80", "dance"], "TEST dance: must be rr, bulk"],
      [loadPath, ["127.0.0.1", "80", "rr", "--fast"], "--fast: unknown option"],
      [loadPath, ["127.0.0.1", "70000", "rr"], "PORT 70000: must be an integer"],
      [loadPath, ["localhost", "80", "rr"], "ADDRESS localhost: must be an IPv4 or IPv6 address"],
      [loadPath, ["127.0.0.1", "80", "rr", "--confirm"], "--confirm: is for bulk that sends"],
      [loadPath, ["127.0.0.1", "80", "bulk", "-d", "1", "--warmup", "0.5"], "--warmup: is for rr only"],
      [loadPath, ["127.0.0.1", "80", "rr", "-d", "1", "--warmup", "1"], "--warmup: must be less than -d"],
      [loadPath, ["127.0.0.1", "80", "verify", "--receive"], "--receive: is for bulk only"],
      [loadPath, [], "ADDRESS PORT TEST"],
      [
        echoPath,
        ["127.0.0.1", "80", "--mode", "x", "-n", "1"],
        "--mode x: must be echo, sink, source, checksum or count",
      ],
      [echoPath, ["127.0.0.1", "80"], "-n, -d or --until-stdin-closes: one of them is needed"],
      [echoPath, ["127.0.0.1", "80", "-n", "1", "--blocking", "--mode", "sink"], "--blocking: only echoes"],
      [echoPath, ["127.0.0.1", "80", "-n", "1", "--threads"], "--threads: only together with --blocking"],
    ] as const) {
      const result = spawnSync(path, args, { encoding: "utf8", timeout: 5000 * patience });
      expect([result.status, result.stdout]).toEqual([2, ""]);
      expect(result.stderr).toContain(message);
    }
    for (const path of [loadPath, echoPath])
      expect(spawnSync(path, ["--help"], { encoding: "utf8", timeout: 5000 * patience })).toMatchObject({
        status: 0,
        stdout: expect.stringMatching(/^Usage: /),
      });
  });

  it("confirm bulk by what the server counted, with threads that block as well", async () => {
    for (const flags of [[], ["--blocking", "--threads"]]) {
      const port = await echo("127.0.0.1", "--mode", "count", ...flags);
      const client = flags.length > 0 ? ["--blocking"] : [];
      const bulk = await load("127.0.0.1", port, "bulk", "-c", "2", "-n", "20000000", "--confirm", ...client);
      expect(bulk).toMatchObject({ status: 0, report: { errors: 0, bytesSent: 20_000_000, opened: 2 } });
    }
    const wrong = await load("127.0.0.1", await echo("127.0.0.1"), "bulk", "-n", "1000", "--confirm");
    expect(wrong).toMatchObject({
      status: 1,
      report: { errors: 1, firstError: "the server did not get what was sent" },
    });
  });

  it("leave out requests of the warm-up, and tell how latencies are distributed", async () => {
    for (const flags of [[], ["--blocking"]]) {
      const port = await echo("127.0.0.1", ...(flags.length > 0 ? ["--blocking", "--threads"] : []));
      const options = ["-c", "4", "-s", "100", "-d", "0.3", "--warmup", "0.15", "--distribution"];
      const { status, report } = await load("127.0.0.1", port, "rr", ...options, ...flags);
      expect([status, report.errors]).toEqual([0, 0]);
      expect(report.requests).toBeGreaterThan(0);
      expect(report.requests).toBeLessThan(report.allRequests);
      const latencies = report.distribution.map(([, us]) => us);
      expect(latencies).toEqual([...latencies].sort((a, b) => a - b));
      expect(report.distribution.find(([part]) => part === 0.5)?.[1]).toBe(report.p50);
    }
  });
});
