// SPDX-License-Identifier: Apache-2.0
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ExecRun, exec, leftovers } from "../../support/exec-run.ts";

const SIGNALS = join(import.meta.dirname, "../../support/programs/signal_counter.py");
let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), `shunt-test-${process.pid}-status-`));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the status of exec", () => {
  it.each([0, 1, 7, 125, 255])("is CMD's own: %i", async (status) => {
    expect(await exec(["--", "sh", "-c", `exit ${status}`])).toMatchObject({ status, out: "", err: "" });
  });

  it.each([
    ["TERM", 143],
    ["KILL", 137],
    ["SEGV", 139],
  ])("is 128 and the number of the signal that ended CMD: %s", async (signal, status) => {
    expect(await exec(["--", "sh", "-c", `kill -${signal} $$`])).toMatchObject({ status, err: "" });
  });

  it.each(["shunt-test-no-such-command", "/nonexistent/program", "./no-such-program"])(
    "is 127 for %s, which is not there",
    async (command) => {
      const { status, err } = await exec(["--", command]);
      expect({ status, err }).toEqual({ status: 127, err: `shunt exec: ${command}: not found\n` });
    },
  );

  it("is 126 for a file that may not be executed, and for a directory", async () => {
    const file = join(folder, "data");
    writeFileSync(file, "#!/bin/sh\n");
    chmodSync(file, 0o644);
    for (const command of [file, folder]) {
      const { status, err } = await exec(["--", command]);
      expect({ status, err }).toEqual({ status: 126, err: `shunt exec: ${command}: not executable\n` });
    }
  });

  it.each([
    [
      "a record file in a missing folder",
      ["--record", "/nonexistent/record.jsonl"],
      "--record /nonexistent/record.jsonl",
    ],
    ["a missing configuration file", ["--config", "/nonexistent/shunt.yaml"], "/nonexistent/shunt.yaml"],
    ["a missing namespace", ["--netns", "shunt-test-no-such-netns"], "shunt-test-no-such-netns"],
    ["a missing cgroup root", ["--cgroup-root", "/nonexistent"], "/nonexistent"],
  ])("is 125 when Shunt fails, and CMD is not run: %s", async (_what, options, named) => {
    const { status, out, err } = await exec([...options, "--", "echo", "ran"], { record: false });
    expect({ status, out }).toEqual({ status: 125, out: "" });
    expect(err).toContain(named);
    expect(err).not.toContain("internal error");
  });

  it("is 125 for a configuration file that is wrong, with file, line and field", async () => {
    const file = join(folder, "wrong.yaml");
    writeFileSync(file, "outbound:\n  port: many\n");
    const { status, err } = await exec(["--config", file, "--", "true"]);
    expect(status).toBe(125);
    expect(err).toMatch(new RegExp(`${file}:2.*outbound\\.port.*many`));
  });

  it.each([[["--inbound", "80"]], [["--mode", "bpf"]], [["--no-such-option"]]])(
    "is 2 for wrong usage: %j",
    async (options) => {
      expect((await exec([...options, "--", "true"])).status).toBe(2);
    },
  );
});

describe("what CMD gets", () => {
  it("is standard input as it is, to the end, and both outputs untouched", async () => {
    const text = "line\n\0\u{1F600}".repeat(20_000);
    const { status, out, err } = await exec(["--", "sh", "-c", "cat; echo error >&2"], { stdin: text });
    expect(out === text).toBe(true);
    expect({ status, err }).toEqual({ status: 0, err: "error\n" });
  });

  it("is an empty input from /dev/null", async () => {
    expect(await exec(["--", "wc", "-c"], { stdin: null })).toMatchObject({ status: 0, out: "0\n", err: "" });
  });

  it("is its own name, its arguments, every variable of the environment and no other", async () => {
    const script = "console.log(JSON.stringify([process.argv0, process.argv.slice(1), process.env]))";
    const args = ["a b", "", "--x", "$HOME", "*"];
    const env = { "shunt.test": "kept", SHUNT_TEST: "a\nb" };
    const { out } = await exec(["--", "node", "-e", script, "--", ...args], { env, stdin: null });
    expect(JSON.parse(out)).toEqual(["node", args, { ...process.env, ...env }]);
  });

  it("is each signal that is sent to shunt, once", async () => {
    await using run = new ExecRun(["--", "python3", SIGNALS]);
    await run.printed(/ready/);
    for (const signal of ["SIGHUP", "SIGUSR1", "SIGINT", "SIGQUIT"] as const) {
      run.child.kill(signal);
      await run.printed(new RegExp(`got ${signal}`));
    }
    // Signals are handed on in order: a second one of those would have been counted before this.
    run.child.kill("SIGUSR2");
    const [, counted] = await run.printed(/counted (.*)/);
    expect(counted).toBe("[('SIGHUP', 1), ('SIGINT', 1), ('SIGQUIT', 1), ('SIGUSR1', 1)]");
    run.child.kill("SIGTERM");
    expect((await run.outcome()).status).toBe(9);
    expect(leftovers(run.pid)).toEqual([]);
  });

  it("is never run, or ended, by a signal that comes while Shunt sets up; nothing is left", async () => {
    await using run = new ExecRun(["--", "cat"]);
    await run.lives();
    run.child.kill("SIGTERM");
    expect(await run.outcome()).toMatchObject({ status: 143, signal: null, err: "" });
    expect(leftovers(run.pid)).toEqual([]);
  });
});
