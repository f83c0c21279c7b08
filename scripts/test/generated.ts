// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { runQuietly, startProgress } from "../setup/progress.mjs";
import { root } from "../setup/stamp.mjs";
import type { LedgerEntry } from "./ledger.ts";

/** Committed files that scripts/gen.ts writes. */
function generatedFiles(): Map<string, string> {
  const found = new Map<string, string>();
  for (const folder of ["src", "docs"]) {
    for (const file of readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })) {
      const isGenerated = folder === "docs" || file.split("/").includes("generated");
      const path = join(root, folder, file);
      if (isGenerated && statSync(path).isFile()) found.set(join(folder, file), readFileSync(path, "utf8"));
    }
  }
  return found;
}

/** Generates again and compares: what is in the tree has to be what the sources say. */
export async function checkGenerated(): Promise<LedgerEntry> {
  const title = "generated files are up to date (npm run gen)";
  if (!existsSync(join(root, "scripts/gen.ts"))) return { title, state: "failed" };
  const progress = startProgress(title);
  const before = generatedFiles();
  const command = [process.execPath, "--import", "tsx", join(root, "scripts/gen.ts")];
  const { status, output } = await runQuietly(command, { cwd: root }, (line) => progress.note(line));
  const after = generatedFiles();
  const changed = [...new Set([...before.keys(), ...after.keys()])].filter(
    (file) => before.get(file) !== after.get(file),
  );
  const ok = status === 0 && changed.length === 0;
  progress.end(ok ? "passed" : "failed");
  if (status !== 0) process.stdout.write(output);
  for (const file of changed) process.stdout.write(`  ${file} was out of date and is now written again: commit it\n`);
  return { title, state: ok ? "passed" : "failed" };
}
