// SPDX-License-Identifier: Apache-2.0
// npm run gen: writes what is generated and committed. With --check it only compares, and exits 1 with a diff.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { BpfObject } from "../src/bpf/bpf-object.ts";
import { type DescribedObject, renderBpfTypes } from "./gen/bpf-types.ts";

const root = dirname(import.meta.dirname);

/** Their maps are the business of src/intercept/probe and src/accelerate/contract alone. */
const UNSHARED = new Set(["probe.bpf.o", "contract.bpf.o"]);

interface Output {
  /** Below the root of the repository. */
  readonly path: string;
  readonly render: () => string;
}

const outputs: readonly Output[] = [
  { path: "src/bpf/generated/types.ts", render: () => renderBpfTypes(describeObjects()) },
];

function describeObjects(): DescribedObject[] {
  const build = join(root, "bpf/build");
  const files = existsSync(build)
    ? readdirSync(build).filter((file) => file.endsWith(".bpf.o") && !UNSHARED.has(file))
    : [];
  if (files.length === 0) throw new Error(`${build} has no *.bpf.o: npm run build:bpf makes them`);
  return files.sort().map((file) => {
    using object = BpfObject.open(join(build, file));
    return { name: file, types: object.types, maps: object.maps() };
  });
}

/** As `npm run fix` would leave it. */
function formatted(path: string, text: string): string {
  const biome = join(root, "node_modules/.bin/biome");
  const run = spawnSync(biome, ["format", `--stdin-file-path=${path}`], { cwd: root, input: text, encoding: "utf8" });
  if (run.status !== 0) throw new Error(`biome format ${path}: ${run.stderr.trim()}`);
  return run.stdout;
}

/** Prints how the committed file would change; true when it would. */
function differs(path: string, text: string): boolean {
  const committed = join(root, path);
  const before = existsSync(committed) ? readFileSync(committed, "utf8") : "";
  if (before === text) return false;
  const folder = mkdtempSync(join(tmpdir(), "shunt-gen-"));
  try {
    writeFileSync(join(folder, "generated"), text);
    const old = existsSync(committed) ? committed : "/dev/null";
    const labels = ["--label", path, "--label", `${path} (generated)`];
    const diff = spawnSync("diff", ["-u", ...labels, old, join(folder, "generated")], { encoding: "utf8" });
    process.stdout.write(diff.stdout ?? `${path} is out of date\n`);
  } finally {
    rmSync(folder, { recursive: true });
  }
  return true;
}

const onlyCheck = process.argv.includes("--check");
for (const { path, render } of outputs) {
  const text = formatted(path, render());
  if (onlyCheck) {
    if (differs(path, text)) process.exitCode = 1;
  } else if (!existsSync(join(root, path)) || readFileSync(join(root, path), "utf8") !== text) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
    process.stdout.write(`wrote ${path}\n`);
  }
}
