// SPDX-License-Identifier: Apache-2.0
import { join, resolve } from "node:path";
import { expect, it } from "vitest";
import { runCommand } from "../../support/shunt.ts";

const PROGRAMS = join(import.meta.dirname, "../../support/programs");
const SHUNT = [process.execPath, resolve(import.meta.dirname, "../../../dist/main.js"), "exec", "--"];
const COUNTER = ["python3", join(PROGRAMS, "signal_counter.py")];

/** Somebody types at a pseudo-terminal that `argv` runs on; what it showed, and the status. */
async function atTerminal(argv: readonly string[], steps: readonly (readonly unknown[])[]): Promise<string> {
  const { stdout } = await runCommand(["python3", join(PROGRAMS, "terminal.py"), JSON.stringify(steps), ...argv]);
  return stdout.replaceAll("\r\n", "\n").trimEnd();
}

it("lets CMD see the terminal, its size, and its changes", async () => {
  const shown = await atTerminal(
    [...SHUNT, "sh", "-c", 'test -t 0 && test -t 1 && test -t 2 && stty size; exec "$@"', "sh", ...COUNTER],
    [
      ["expect", "24 80"],
      ["expect", "ready"],
      ["resize", 33, 101],
      ["expect", "SIGWINCH 33x101"],
      ["send", "end\n"],
    ],
  );
  expect(shown).toMatch(/read end\n\nstatus=5$/);
});

it("brings Ctrl-C and Ctrl-\\ to CMD exactly once", async () => {
  const shown = await atTerminal(
    [...SHUNT, ...COUNTER],
    [
      ["expect", "ready pid=\\d+"],
      ["send", "\x03"],
      ["expect", "got SIGINT"],
      ["send", "\x1c"],
      ["expect", "got SIGQUIT"],
      // Handed on by shunt, after whatever it would have handed on before.
      ["signal", "ready pid=(\\d+)", "SIGUSR1"],
      ["expect", "got SIGUSR1"],
      ["parent-signal", "ready pid=(\\d+)", "SIGUSR2"],
      ["expect", "counted"],
      ["send", "end\n"],
    ],
  );
  expect(shown).toContain("counted [('SIGINT', 1), ('SIGQUIT', 1), ('SIGUSR1', 1)]");
  expect(shown).toMatch(/status=5$/);
});

it("ends with 130 when Ctrl-C ends CMD", async () => {
  const shown = await atTerminal(
    [...SHUNT, "sh", "-c", "echo ready; exec cat"],
    [
      ["expect", "ready"],
      ["send", "\x03"],
    ],
  );
  expect(shown).toMatch(/status=130$/);
});

it("is stopped with CMD by Ctrl-Z, gives the shell its prompt, and goes on with fg", async () => {
  const line = [...SHUNT, ...COUNTER].join(" ");
  const shown = await atTerminal(
    ["env", "PS1=prompt> ", "bash", "--norc", "--noprofile", "-i"],
    [
      ["expect", "prompt> "],
      ["send", `${line}\n`],
      ["expect", "ready pid=\\d+"],
      ["send", "\x1a"],
      ["expect", "Stopped"],
      ["expect", "prompt> "],
      ["stopped", "ready pid=(\\d+)"],
      ["send", "fg\n"],
      ["expect", "got SIGCONT"],
      ["send", "end\n"],
      ["expect", "read end"],
      ["expect", "prompt> "],
      ["send", "echo it was $?\n"],
      ["expect", "it was 5"],
      ["send", "exit\n"],
    ],
  );
  expect(shown).toMatch(/status=0$/);
});

it("runs a shell with job control of its own", async () => {
  const shown = await atTerminal(
    [...SHUNT, "env", "PS1=inner> ", "bash", "--norc", "--noprofile", "-i"],
    [
      ["expect", "inner> "],
      ["send", `${COUNTER.join(" ")}\n`],
      ["expect", "ready pid=\\d+"],
      ["send", "\x1a"],
      ["expect", "Stopped"],
      ["send", "fg\n"],
      ["expect", "got SIGCONT"],
      ["send", "\x03"],
      ["expect", "got SIGINT"],
      ["send", "end\n"],
      ["expect", "read end"],
      ["send", "exit 3\n"],
    ],
  );
  expect(shown).not.toContain("no job control");
  expect(shown).toMatch(/status=3$/);
});
