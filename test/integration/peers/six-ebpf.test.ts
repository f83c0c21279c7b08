// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { peerFolder } from "../../support/peer-folder.ts";
import type { GoConfig } from "../../support/peer-sidecar.ts";
import { type SixCheck, SixHelper, type SixOutcome } from "../../support/six-helper.ts";

/** Every case with SHUNT_SIX=all, which takes minutes; those of rules written in nftables have the same meaning. */
const SELECTED = [
  "basic-exclude-nic",
  "dns-uid-gid",
  "drop-invalid",
  "inbound-ports-wildcard-tproxy",
  "ip-range",
  "kube-virt-interfaces",
  "loopback-outbound-iprange",
  "open02-outbound-ports-exclude",
  "outbound-owner-groups",
].map((name) => `iptables/${name}`);

/** Where eBPF differs from rules, as docs/rules.md lists it: these checks fail, all of them, and no other. */
const DIFFERENCES: readonly { readonly reason: string; readonly is: (check: SixCheck) => boolean }[] = [
  { reason: "nothing is translated, so conntrack has no zones", is: ({ label }) => label.includes(" conntrack: ") },
  { reason: "sk_lookup sees what is delivered locally alone", is: ({ type }) => type === "M" },
];

/** What eBPF refuses, by the field that its message names. */
function refusedField(config: GoConfig): string | undefined {
  if (config["RerouteVirtualInterfaces"]) return "interfaces.reroute";
  return config["DropInvalid"] === true ? "dropInvalid" : undefined;
}

interface PeerCase {
  readonly id: string;
  readonly suite: string;
  readonly config: GoConfig;
}

const peer = peerFolder("istio-capture");
const all =
  "reason" in peer ? [] : (JSON.parse(readFileSync(join(peer.path, "cases.json"), "utf8")).cases as PeerCase[]);
const sidecars = all.filter(({ suite }) => !suite.startsWith("cni"));
const cases = process.env["SHUNT_SIX"] === "all" ? sidecars : sidecars.filter(({ id }) => SELECTED.includes(id));

const missing = "reason" in peer ? ` (skipped: ${peer.reason})` : "";

describe.skipIf(missing !== "")(`the packet checks of Istio's sidecar cases, by eBPF${missing}`, () => {
  let helper: SixHelper;
  const table: string[] = [];

  beforeAll(() => {
    helper = new SixHelper();
  });

  afterAll(() => {
    helper?.[Symbol.dispose]();
    process.stdout.write(`${[`${sidecars.length} sidecar cases found, ${cases.length} run`, ...table].join("\n")}\n`);
  });

  it("are there to be run", () => {
    expect(cases.length).toBeGreaterThanOrEqual(SELECTED.length);
  });

  it.each(cases)("$id: pass but for what cannot be, and nothing is left", async ({ id, config }) => {
    const folder = "path" in peer ? peer.path : "";
    const outcome = await helper.run(folder, id, config);
    table.push(row(id, outcome));
    expect(outcome.leftovers).toEqual([]);
    const field = refusedField(config);
    if (field !== undefined) {
      expect(outcome.setupFailure).toContain(`six: ${field}: `);
      return;
    }
    expect(outcome.setupFailure).toBeUndefined();
    const differs = (check: SixCheck): boolean => DIFFERENCES.some(({ is }) => is(check));
    expect(outcome.checks.filter((check) => check.ok === differs(check))).toEqual([]);
  });
});

function row(id: string, { checks, setupFailure }: SixOutcome): string {
  const counts = `${checks.filter(({ ok }) => ok).length}/${checks.length}`;
  return `${id.padEnd(40)} ${setupFailure === undefined ? counts : "refused"}`;
}
