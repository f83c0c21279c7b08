// SPDX-License-Identifier: Apache-2.0
/** The completion scripts in the shells they are for. */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { COMMANDS } from "../../../src/cli/command-table.ts";
import { temporaryFolder } from "../../support/admin-fixture.ts";
import { shunt } from "../../support/cli-fixture.ts";

let folder: ReturnType<typeof temporaryFolder>;
beforeEach(() => {
  folder = temporaryFolder();
  mkdirSync(join(folder.path, "files/deep"), { recursive: true });
  writeFileSync(join(folder.path, "files/agent.yaml"), "");
  // Shells complete a command only if there is one.
  for (const name of ["shunt", "odd-program"]) {
    writeFileSync(join(folder.path, name), "#!/bin/sh\n");
    chmodSync(join(folder.path, name), 0o755);
  }
});
afterEach(() => folder[Symbol.dispose]());

const has = (shell: string): boolean => spawnSync(shell, ["--version"]).status === 0;
const names = COMMANDS.map(({ name }) => name);

async function script(shell: string): Promise<string> {
  const { status, out } = await shunt(["completion", shell]);
  expect(status).toBe(0);
  return out;
}

/** The words the shell offers for the last one. */
type Complete = (words: readonly string[]) => Promise<string[]>;

function run(command: string, args: readonly string[], input?: string): string[] {
  const path = `${folder.path}:${process.env["PATH"] ?? ""}`;
  const { stdout, stderr } = spawnSync(command, args, {
    encoding: "utf8",
    timeout: 8_000,
    input,
    cwd: folder.path,
    env: { ...process.env, PATH: path, HOME: folder.path },
  });
  expect(stderr).toBe("");
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .sort();
}

const bash: Complete = async (words) => {
  const quoted = words.map((word) => `'${word}'`).join(" ");
  const driver = `COMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}; _shunt 2>/dev/null; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return run("bash", ["--norc", "-c", `${await script("bash")}\n${driver}`]);
};

const fish: Complete = async (words) => {
  const line = words.join(" ").replaceAll("'", "\\'");
  const offered = run("fish", ["--no-config", "-c", `${await script("fish")}\ncomplete -C '${line}'`]);
  return offered.map((text) => text.split("\t")[0] ?? "");
};

function checks(complete: Complete): void {
  it("completes commands", async () => {
    expect(await complete(["shunt", ""])).toEqual(expect.arrayContaining([...names, "help"]));
    expect(await complete(["shunt", "st"])).toEqual(["status"]);
  });

  it("completes the options of a command, and only its own", async () => {
    const options = await complete(["shunt", "exec", "--"]);
    const own = COMMANDS.find(({ name }) => name === "exec")?.options.map(({ long }) => long) ?? [];
    expect(options).toEqual(expect.arrayContaining([...own, "--help"]));
    expect(options).not.toContain("--workers");
  });

  it("completes the values of an option with choices", async () => {
    expect(await complete(["shunt", "run", "--mode", ""])).toEqual([
      "auto",
      "ebpf",
      "iptables",
      "mixed",
      "nftables",
      "tproxy",
    ]);
    expect(await complete(["shunt", "run", "--workers", "2", "--fail-mode", "di"])).toEqual(["direct"]);
    expect(await complete(["shunt", "completion", ""])).toEqual(["bash", "fish", "zsh"]);
    expect(await complete(["shunt", "help", "fl"])).toEqual(["flows"]);
  });

  it("completes files where an option takes one", async () => {
    expect(await complete(["shunt", "run", "--config", "files/ag"])).toEqual(["files/agent.yaml"]);
  });

  it("completes programs where exec's CMD begins", async () => {
    expect(await complete(["shunt", "exec", "odd-pro"])).toEqual(["odd-program"]);
    expect(await complete(["shunt", "exec", "--mode", "ebpf", "--", "odd-pro"])).toEqual(["odd-program"]);
  });
}

describe("in bash", () => {
  checks(bash);

  it("completes a value that hangs on its option by =", async () => {
    expect(await bash(["shunt", "run", "--mode", "=", "eb"])).toEqual(["ebpf"]);
    expect(await bash(["shunt", "run", "--mode", "="])).toContain("iptables");
  });

  it("leaves the options of CMD to CMD", async () => {
    expect(await bash(["shunt", "exec", "odd-program", "--mo"])).toEqual([]);
    expect(await bash(["shunt", "exec", "--mode", "=", "ebpf", "odd-program", "files/a"])).toEqual([
      "files/agent.yaml",
    ]);
  });
});

describe.skipIf(!has("fish"))("in fish (skipped without the program fish)", () => {
  checks(fish);
});

describe.skipIf(!has("zsh"))("in zsh (skipped without the program zsh)", () => {
  it("is a script that zsh parses", async () => {
    const file = join(folder.path, "_shunt");
    writeFileSync(file, await script("zsh"));
    expect(run("zsh", ["-n", file])).toEqual([]);
  });
});
