// SPDX-License-Identifier: Apache-2.0
/** status, flows and explain against a real admin server on a real socket. */
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type AdminServer, startAdminServer } from "../../../src/admin/admin-server.ts";
import { aFlow, aStatus, FixtureSource, temporaryFolder } from "../../support/admin-fixture.ts";
import { shunt } from "../../support/cli-fixture.ts";

let folder: ReturnType<typeof temporaryFolder>;
let socket: string;
let source: FixtureSource;
let server: AdminServer;

beforeEach(async () => {
  folder = temporaryFolder();
  socket = join(folder.path, "admin.sock");
  source = new FixtureSource();
  server = await startAdminServer({ source, socketPath: socket, onError: () => undefined });
});
afterEach(async () => {
  await server.close();
  folder[Symbol.dispose]();
});

describe("status", () => {
  it("shows agent, workloads, verdicts, workers and what was added to the machine", async () => {
    const { status, out } = await shunt(["status", "--socket", socket]);
    expect(status).toBe(0);
    expect(out).toContain("agent t (process 7, version 0.1.0) ready, up 1h1m1s, mode ebpf: all hooks are there\n");
    expect(out).toMatch(/^blue +netns:\/run\/netns\/blue +ebpf +off +deny +2 +12 +4 +outbound 127\.0\.0\.1:15001$/m);
    expect(out).toMatch(/^blue +outbound +all-included +12$/m);
    expect(out).not.toContain("loopback");
    expect(out).toMatch(/^ip-rule +ipv4 +fwmark 0x539 lookup 133$/m);
  });

  it("prints the agent's own report with --json", async () => {
    expect(JSON.parse((await shunt(["status", "--socket", socket, "--json"])).out)).toEqual(aStatus);
  });

  it("names agent, socket and reason when nobody answers", async () => {
    const path = join(folder.path, "none.sock");
    const { status, err } = await shunt(["status", "--name", "blue", "--socket", path]);
    expect(status).toBe(1);
    expect(err).toMatch(new RegExp(`^shunt status: no agent blue answers on ${path}: ENOENT`));
  });
});

describe("explain", () => {
  const question = ["explain", "--direction", "outbound", "--address", "fd00::1", "--port", "443"];

  it("tells verdict, reason, rule and where the connection goes", async () => {
    const { status, out } = await shunt([...question, "--workload", "blue", "--socket", socket]);
    expect(status).toBe(0);
    expect(out).toBe(
      "blue outbound [fd00::1]:443: redirect\n  reason      all-included\n  rule        outbound.includeCidrs: *\n  decided by  workloads[1].flags OUTBOUND_ALL\n  goes to     127.0.0.1:15001\n",
    );
    const json = await shunt([...question, "--workload", "blue", "--socket", socket, "--json", "--source", "::2"]);
    expect(JSON.parse(json.out)).toMatchObject({
      query: { address: "fd00::1", port: 443, source: "::2" },
      verdict: "redirect",
    });
  });

  it("asks for a process, a mark, an interface and a datagram", async () => {
    const caller = ["--uid", "1000", "--gid", "0", "--mark", "0x539", "--interface", "eth0", "--udp"];
    const asked = [...question, "--workload", "blue", "--socket", socket, ...caller];
    const { out } = await shunt([...asked, "--json"]);
    expect(JSON.parse(out)).toMatchObject({
      query: { transport: "udp", uid: 1000, gid: 0, mark: 0x539, interface: "eth0" },
    });
    expect((await shunt(asked)).out).toMatch(
      /^blue outbound udp \[fd00::1\]:443 uid 1000 gid 0 mark 1337 interface eth0: redirect\n/,
    );
  });

  it("passes on what the agent has against the question", async () => {
    const { status, err } = await shunt([...question, "--workload", "red", "--socket", socket]);
    expect([status, err]).toEqual([1, 'shunt explain: no workload "red" (known: blue)\n']);
  });
});

describe("flows", () => {
  it("prints a table of what is open with --once, summed over who and whom", async () => {
    source.open = [
      aFlow("1"),
      aFlow("2"),
      aFlow("3", { originalDestination: "[fd00::1]:443", upstream: "10.9.9.9:443" }),
    ];
    const { status, out } = await shunt(["flows", "--once", "--socket", socket]);
    expect(status).toBe(0);
    expect(out).toMatch(/^blue +outbound +10\.0\.0\.1 +10\.0\.0\.2:80 +ebpf +2 +2 +0 +0$/m);
    expect(out).toMatch(/^blue +outbound +10\.0\.0\.1 +\[fd00::1\]:443 +10\.9\.9\.9:443 +ebpf +1 +1 +0 +0$/m);
  });

  it("prints a JSON line for each connection that is open, begins or ends, until told to stop", async () => {
    source.open = [aFlow("1")];
    const stop = new AbortController();
    let lines = 0;
    const { status, out } = await shunt(["flows", "--json", "--socket", socket], {
      signal: stop.signal,
      onOut: () => {
        lines++;
        if (lines === 1) source.tell(aFlow("1", { state: "closed", outcome: "closed", bytesSent: 5 }));
        else stop.abort();
      },
    });
    expect(status).toBe(0);
    expect(
      out
        .trim()
        .split("\n")
        .map((line) => (JSON.parse(line) as { state: string }).state),
    ).toEqual(["open", "closed"]);
  });

  it("ends when the agent does", async () => {
    source.open = [aFlow("1", { workload: "green" }), aFlow("2")];
    const { status, out } = await shunt(["flows", "--workload", "green", "--socket", socket], {
      onOut: () => void server.close(),
    });
    expect(status).toBe(0);
    expect(out).toBe("2026-11-20T10:00:00.000Z open   green outbound 10.0.0.1:40001 -> 10.0.0.2:80 by ebpf\n");
  });

  it("draws a table anew on a terminal", async () => {
    source.open = [aFlow("1")];
    const stop = new AbortController();
    const { status, out } = await shunt(["flows", "--socket", socket], {
      signal: stop.signal,
      isTTY: true,
      onOut: (text) => {
        if (!text.includes("WORKLOAD")) source.tell(aFlow("1", { state: "closed", bytesSent: 5, bytesReceived: 6 }));
        else stop.abort();
      },
    });
    expect(status).toBe(0);
    expect(out).toContain("\u001b[H\u001b[JWORKLOAD ");
    expect(out).toMatch(/\nblue +outbound +10\.0\.0\.1 +10\.0\.0\.2:80 +ebpf +0 +1 +5 +6\n/);
  });
});
