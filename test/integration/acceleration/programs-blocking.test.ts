// SPDX-License-Identifier: Apache-2.0
/** Programs whose sockets block, with a thread that reads and another that writes: never in a map, and never disturbed. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { findCommand } from "../../../scripts/setup/machine.mjs";
import { patienceMs } from "../../support/inbox.ts";
import { python } from "../../support/lab-process.ts";
import { ProgramRig, pathsOf, withProgram } from "../../support/program-rig.ts";

const PORT = 8081;
const CONNECTIONS = 8;

withProgram("a Python program with threads", python("threads.py"), (argv, acceleration) => {
  it("gets every byte and no error, and none of its bytes goes past TCP", async ({ skip }) => {
    await using rig = await ProgramRig.start(acceleration, skip);
    const at = [rig.address, String(PORT)];
    await rig.serve([...argv, "serve", ...at], { port: PORT });
    const told = await rig.ask([...argv, "run", ...at, String(CONNECTIONS), "1500000"]);
    expect(JSON.parse(told)).toEqual({ right: CONNECTIONS, wrong: 0, errors: [] });
    expect(pathsOf(await rig.recordsOf(PORT, 2 * CONNECTIONS))).not.toContain("direct");
  });
});

const classes = mkdtempSync(join(tmpdir(), `shunt-test-${process.pid}-java-`));
afterAll(() => rmSync(classes, { recursive: true, force: true }));

/** The compiled program; a string says what is missing. */
function compileJava(): { readonly java: string } | string {
  const [java, javac] = [findCommand("java"), findCommand("javac")];
  if (java === undefined || javac === undefined) return "java and javac are needed";
  const source = join(import.meta.dirname, "../../support/programs/Streams.java");
  const { status, stderr } = spawnSync(javac, ["-d", classes, source], {
    encoding: "utf8",
    timeout: patienceMs(60_000),
  });
  if (status !== 0) throw new Error(stderr);
  return { java };
}

withProgram("a Java program with streams", compileJava(), ({ java }, acceleration) => {
  it("gets every byte and no error, and none of its bytes goes past TCP", async ({ skip }) => {
    await using rig = await ProgramRig.start(acceleration, skip);
    const argv = [java, "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", classes, "Streams"];
    const at = [rig.address, String(PORT)];
    const server = await rig.serve([...argv, "serve", ...at], { port: PORT });
    const told = await rig.ask([...argv, "run", ...at, String(CONNECTIONS), "1500000"]);
    expect(told).toBe(`right ${CONNECTIONS}\n`);
    expect(server.lines).toEqual([]);
    expect(pathsOf(await rig.recordsOf(PORT, 2 * CONNECTIONS))).not.toContain("direct");
  });
});
