// SPDX-License-Identifier: Apache-2.0
/** The cells of the kernel matrix, under this machine's own kernel, with a probe that does not tell the truth. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { type Cell, judgeCells, readProbe } from "../../vm/cells.ts";
import { cellsOnHost } from "../../vm/guest-run.ts";
import type { Expectation } from "../../vm/kernel-list.ts";

const timeoutMs = 60_000 * Number(process.env["SHUNT_PATIENCE"] ?? "1");
const path = process.env["PATH"] ?? "";
let truth: Expectation;
let folder: string;

beforeEach(() => {
  // The cells have a /tmp of their own.
  folder = mkdtempSync(`/var/tmp/shunt-test-${process.pid}-probe-`);
});

afterEach(() => {
  process.env["PATH"] = path;
  rmSync(folder, { recursive: true });
});

function run(...filter: string[]): Promise<Cell[]> {
  return cellsOnHost("host", { filter, accelerator: "host", timeoutMs, keep: false });
}

/** `sed` is what becomes of the probe's JSON. */
function lie(sed: string): void {
  const node = join(folder, "node");
  writeFileSync(
    node,
    `#!/bin/sh
[ "$2" = probe ] || exec '${process.execPath}' "$@"
'${process.execPath}' "$@" | sed '${sed}'
`,
  );
  chmodSync(node, 0o755);
  process.env["PATH"] = `${folder}:${path}`;
}

const redOf = (cells: readonly Cell[]): string[] =>
  judgeCells(cells, truth)
    .verdicts.filter(({ state }) => state === "failed")
    .map(({ name }) => name);

beforeAll(async () => {
  const cells = await run("nothing but the probe");
  const probe = readProbe(cells[0]);
  if (probe === undefined) throw new Error(cells[0]?.output ?? "no cell");
  const missing = Object.entries(probe.features).filter(([, { ok }]) => !ok);
  truth = {
    mode: probe.mode,
    tier: probe.tier,
    missing: Object.fromEntries(missing.map(([name, { reason = "" }]) => [name, reason])),
  };
}, timeoutMs);

it("one that denies what works turns that feature red, and the mode that can be had without it", async () => {
  lie('/"tproxy": {/,/}/s/"ok": true/"ok": false, "reason": "a lie"/');
  expect(redOf(await run("tproxy", "exec"))).toEqual(["tproxy", "feature tproxy"]);
});

it("one that chooses less than is possible turns the choice red, and the modes that differ from it", async () => {
  lie('s/"mode": "ebpf"/"mode": "mixed"/');
  expect(redOf(await run("auto", "ebpf", "iptables"))).toEqual(["mode", "auto", "ebpf"]);
});

it("one that claims what does not work turns that feature red", async () => {
  truth = { ...truth, missing: { ...truth.missing, "nft-cgroup": "as if this kernel could not" } };
  expect(redOf(await run("exec"))).toEqual(["feature nft-cgroup"]);
});
