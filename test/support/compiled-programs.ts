// SPDX-License-Identifier: Apache-2.0
/** Programs compiled for a test into a folder of its own. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCommand } from "./shunt.ts";

export class CompiledPrograms implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), `shunt-test-${process.pid}-programs-`));

  /** Path of what the command makes of `source`; `{out}` in it stands for that path. */
  async compile(name: string, argv: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
    const path = join(this.#folder, name);
    const command = argv.map((word) => (word === "{out}" ? path : word));
    const { status, stderr } = await runCommand(command, { env, deadlineMs: 180_000 });
    if (status !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
    return path;
  }

  /** A file of test/support/programs, or any other path, compiled as C. */
  compileC(name: string, source: string, ...flags: readonly string[]): Promise<string> {
    return this.compile(name, ["cc", "-O1", "-D_GNU_SOURCE", ...flags, "-o", "{out}", source]);
  }

  get folder(): string {
    return this.#folder;
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
