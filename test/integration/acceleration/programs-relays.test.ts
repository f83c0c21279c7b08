// SPDX-License-Identifier: Apache-2.0
/**
 * Reverse proxies that splice: HAProxy with splice-auto, and one in Go, whose io.Copy does. They poll, so their sockets
 * look as if redirected bytes could be read from them; the oracle behind them sees whether they could.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { findCommand } from "../../../scripts/setup/machine.mjs";
import { patienceMs } from "../../support/inbox.ts";
import { type OracleRun, OracleServer, problemsOf, runOracle } from "../../support/oracle.ts";
import { peerBinary } from "../../support/peers.ts";
import { ProgramRig, withProgram } from "../../support/program-rig.ts";

const PORT = 9000;
const INNER = 9100;
const PORTS = [0, 1, 2, 3, 4, 5, 6, 7];

/** What HAProxy and Go hand on as TCP does: no resets by chance, and all bytes before the end. */
const FLAGS = ["-n", "160", "-c", "40", "--without", "reset,close,zerocopy,lowat,late,deferred"];
const STREAMS = [
  "-n",
  "6",
  "-c",
  "6",
  "--min-size",
  "4000000",
  "--without",
  "reset,close,zerocopy,lowat,late,deferred",
];

/** A run through the relay that is the server's application; the oracle's own server is behind it, on loopback. */
async function runThrough(rig: ProgramRig, flags: readonly string[]): Promise<OracleRun> {
  await using server = await OracleServer.start("127.0.0.1", { netns: rig.rig.serverNetns, port: INNER });
  const through = { address: rig.address, port: PORT, report: () => server.report() };
  return await runOracle(through, { netns: rig.rig.clientNetns, flags });
}

async function expectExact(rig: ProgramRig): Promise<void> {
  for (const flags of [FLAGS, STREAMS]) expect(problemsOf(await runThrough(rig, flags))).toEqual([]);
}

function haproxyConfig(address: string): string {
  const listen = (offset: number): string => `
listen l${offset}
  bind ${address}:${PORT + offset}
  server s 127.0.0.1:${INNER + offset}
`;
  return `
global
  maxconn 400
defaults
  mode tcp
  option splice-auto
  timeout connect 10s
  timeout client 60s
  timeout server 60s
  timeout tunnel 60s
${PORTS.map(listen).join("")}`;
}

const haproxy = await peerBinary("haproxy");

withProgram("HAProxy with splice-auto", haproxy.ok ? haproxy : haproxy.reason, (program, acceleration) => {
  it("hands on every byte", async ({ skip }) => {
    await using rig = await ProgramRig.start(acceleration, skip);
    const file = join(rig.folder, "haproxy.cfg");
    writeFileSync(file, haproxyConfig(rig.address));
    await rig.serve([program.command, "-db", "-f", file], { env: program.env, port: PORT });
    await expectExact(rig);
  });
});

const built = mkdtempSync(join(tmpdir(), `shunt-test-${process.pid}-go-`));
afterAll(() => rmSync(built, { recursive: true, force: true }));

/** The built program; a string says what is missing. */
function buildGo(): { readonly command: string } | string {
  const go = findCommand("go");
  if (go === undefined) return "go is missing on this system";
  const command = join(built, "relay");
  const source = join(import.meta.dirname, "../../support/programs/relay-go/main.go");
  // Nothing but the standard library: no module, no network.
  const env = { ...process.env, GOFLAGS: "-mod=mod", GO111MODULE: "off", GOTOOLCHAIN: "local" };
  const options = { encoding: "utf8", env, timeout: patienceMs(180_000) } as const;
  const { status, stderr } = spawnSync(go, ["build", "-o", command, source], options);
  if (status !== 0) throw new Error(stderr);
  return { command };
}

withProgram("a reverse proxy in Go", buildGo(), ({ command }, acceleration) => {
  it("hands on every byte", async ({ skip }) => {
    await using rig = await ProgramRig.start(acceleration, skip);
    await rig.serve([command, rig.address, String(PORT), "127.0.0.1", String(INNER)], { port: PORT });
    await expectExact(rig);
  });
});
