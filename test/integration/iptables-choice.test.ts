// SPDX-License-Identifier: Apache-2.0
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { iptablesBackend } from "../../src/intercept/iptables/backend.ts";
import type { InterceptSpec } from "../../src/intercept/spec.ts";
import { patienceMs } from "../support/inbox.ts";
import { inNetns, rulesOf, whyUnusable } from "../support/iptables-save.ts";
import { NetLab } from "../support/net-lab.ts";
import { ProgramFolder } from "../support/wrapped-programs.ts";
import { anOutbound, aSpec } from "../unit/intercept/iptables/iptables-specs.ts";

type Flavour = "nft" | "legacy";

const ALWAYS = ["nsenter", "unshare", "sh", "cat", "ip"];
const path = process.env["PATH"];
const parts: Disposable[] = [];
let lab: NetLab;
let bin: ProgramFolder;
let spec: InterceptSpec;

beforeEach(async (context) => {
  for (const flavour of ["nft", "legacy"] as const) {
    const missing = await whyUnusable(flavour);
    context.skip(missing !== undefined, missing);
  }
  lab = new NetLab("pick");
  bin = new ProgramFolder();
  parts.push(lab, bin);
  for (const program of ALWAYS) bin.link(program);
  spec = aSpec({ target: { kind: "netns", path: lab.client.path }, outbound: anOutbound() });
});

afterEach(() => {
  process.env["PATH"] = path;
  delete process.env["XTABLES_LOCKFILE"];
  for (const part of parts.splice(0)) part[Symbol.dispose]();
});

/** `iptables-nft-restore` and so on; as the machine's default under plain names too. */
function install(flavour: Flavour, { families = ["iptables", "ip6tables"], standard = false } = {}): void {
  for (const family of families) {
    for (const verb of ["save", "restore"]) {
      bin.link(`${family}-${flavour}-${verb}`);
      if (standard) bin.link(`${family}-${verb}`, `${family}-${flavour}-${verb}`);
    }
  }
}

function occupy(flavour: Flavour, family = "iptables"): void {
  inNetns(lab.client.path, `${family}-${flavour}`, "-A", "FORWARD", "-j", "ACCEPT");
}

/** Applies with the programs of the folder alone. */
async function apply(): Promise<{ flavour: Flavour; families: readonly number[]; warnings: readonly string[] }> {
  process.env["PATH"] = bin.path;
  try {
    return await iptablesBackend.apply(spec);
  } finally {
    process.env["PATH"] = path;
  }
}

describe("which iptables is used", () => {
  const cells: readonly {
    installed: readonly Flavour[];
    standard?: Flavour;
    rules: readonly Flavour[];
    used: Flavour;
  }[] = [
    { installed: ["nft"], rules: [], used: "nft" },
    { installed: ["legacy"], rules: [], used: "legacy" },
    { installed: ["nft"], rules: ["legacy"], used: "nft" },
    { installed: ["legacy"], rules: ["nft"], used: "legacy" },
    { installed: ["nft", "legacy"], rules: [], used: "nft" },
    { installed: ["nft", "legacy"], standard: "nft", rules: [], used: "nft" },
    { installed: ["nft", "legacy"], standard: "legacy", rules: [], used: "legacy" },
    { installed: ["nft", "legacy"], standard: "nft", rules: ["nft"], used: "nft" },
    { installed: ["nft", "legacy"], standard: "nft", rules: ["legacy"], used: "legacy" },
    { installed: ["nft", "legacy"], standard: "legacy", rules: ["nft"], used: "nft" },
    { installed: ["nft", "legacy"], standard: "legacy", rules: ["legacy"], used: "legacy" },
    { installed: ["nft", "legacy"], standard: "nft", rules: ["nft", "legacy"], used: "nft" },
    { installed: ["nft", "legacy"], standard: "legacy", rules: ["nft", "legacy"], used: "legacy" },
  ];

  it.each(cells)("of $installed, default $standard, with rules in $rules: $used", async (cell) => {
    for (const flavour of cell.installed) install(flavour, { standard: flavour === cell.standard });
    for (const flavour of cell.rules) occupy(flavour);
    expect(await apply()).toMatchObject({ flavour: cell.used, families: [4, 6] });
    const other = cell.used === "nft" ? "legacy" : "nft";
    expect(rulesOf(lab.client.path, cell.used)).toContain("SHUNT_OUTPUT");
    expect(rulesOf(lab.client.path, other)).not.toContain("SHUNT");
  });

  it("counts rules of IPv6 alone", async () => {
    install("nft", { standard: true });
    install("legacy");
    occupy("legacy", "ip6tables");
    expect(await apply()).toMatchObject({ flavour: "legacy" });
  });

  it("stays where the workload has its rules when others come in the other flavour", async () => {
    install("nft", { standard: true });
    install("legacy");
    occupy("legacy");
    await apply();
    occupy("nft");
    expect(await apply()).toMatchObject({ flavour: "legacy", changed: false });
  });

  it("is not one without IPv6 while another has it", async () => {
    install("nft", { families: ["iptables"], standard: true });
    install("legacy");
    expect(await apply()).toMatchObject({ flavour: "legacy", families: [4, 6] });
  });

  it("is not one that lacks a match the rules need, and that is told", async () => {
    const extensions = new Extensions(["owner"]);
    parts.push(extensions);
    for (const family of ["iptables", "ip6tables"]) {
      bin
        .link(`${family}-nft-save`)
        .script(`${family}-nft-restore`, [`XTABLES_LIBDIR=${extensions.path} exec "$REAL" "$@"`]);
    }
    install("legacy");
    expect(await apply()).toMatchObject({ flavour: "nft", warnings: [] });
    spec = { ...spec, proxy: { uids: [4001], gids: [], external: false } };
    const { flavour, warnings } = await apply();
    expect(flavour).toBe("legacy");
    expect(warnings).toEqual([expect.stringMatching(/^iptables-legacy is used, because iptables-nft can't: .*owner/)]);
    expect(rulesOf(lab.client.path, "nft"), "the earlier ones are gone").not.toContain("SHUNT");
  });
});

describe("the lock of iptables-legacy", () => {
  it("is waited for", async () => {
    install("legacy");
    const folder = mkdtempSync(join(tmpdir(), "shunt-test-lock-"));
    parts.push({ [Symbol.dispose]: () => rmSync(folder, { recursive: true }) });
    process.env["XTABLES_LOCKFILE"] = join(folder, "lock");
    const holder = spawn("flock", [join(folder, "lock"), "sh", "-c", "echo held; read -r _"], { stdio: "pipe" });
    await once(holder.stdout, "data");
    let applied = false;
    const applying = apply().then((rules) => {
      applied = true;
      return rules;
    });
    // It has read the rules when it asks for the lock, which takes a moment; that it waits shows in that it is alive.
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect(applied).toBe(false);
    holder.stdin.end("\n");
    expect(await applying).toMatchObject({ flavour: "legacy" });
  });

  it("is one of our own where /run can't be written to", () => {
    occupy("legacy");
    const program = join(import.meta.dirname, "../support/programs/apply-rules.mjs");
    const readOnly = 'mount --rbind /run /run && mount -o remount,bind,ro /run && exec "$@"';
    const argv = ["--mount", "sh", "-c", readOnly, "sh", process.execPath, program, "iptables", "apply"];
    const told = execFileSync("unshare", [...argv, JSON.stringify(spec)], {
      encoding: "utf8",
      timeout: patienceMs(30_000),
    });
    expect(JSON.parse(told)).toMatchObject({ flavour: "legacy", changed: true });
    expect(readdirSync(tmpdir()).filter((name) => name.startsWith("shunt-xtables-"))).toEqual([]);
  });

  it("that somebody is quicker to take is tried for again", async () => {
    const busy = [
      'case "$* " in *--version*) exec "$REAL" "$@";; esac',
      `[ -e ${bin.path}/tried ] || { : > ${bin.path}/tried; echo "iptables-restore: Resource temporarily unavailable." >&2; exit 4; }`,
      'exec "$REAL" "$@"',
    ];
    for (const family of ["iptables", "ip6tables"]) bin.link(`${family}-legacy-save`);
    bin.script("ip6tables-legacy-restore", ['exec "$REAL" "$@"']);
    bin.script("iptables-legacy-restore", busy);
    expect(await apply()).toMatchObject({ flavour: "legacy", changed: true });
  });
});

/** The machine's extensions of iptables, without some. */
class Extensions implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "shunt-test-xt-"));

  constructor(without: readonly string[]) {
    const folder = dirname(
      execFileSync(
        "sh",
        ["-c", "ls /usr/lib/*/xtables/libxt_owner.so /usr/lib/xtables/libxt_owner.so 2>/dev/null | head -1"],
        {
          encoding: "utf8",
        },
      ).trim(),
    );
    for (const file of readdirSync(folder)) {
      if (!without.some((name) => file.endsWith(`_${name}.so`))) symlinkSync(join(folder, file), join(this.path, file));
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true });
  }
}
