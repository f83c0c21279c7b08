// SPDX-License-Identifier: Apache-2.0
/** `shunt istio-iptables` in the place of Istio's command, judged by Istio's own cases. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { whyUnusable } from "../../support/iptables-save.ts";
import { byTwos, findIstioCases, type IstioCase, runScript, type ScriptResult } from "../../support/istio-capture.ts";

const found = findIstioCases();
const reason = "reason" in found ? found.reason : undefined;
const { folder, cases } = "reason" in found ? { folder: "", cases: [] as readonly IstioCase[] } : found;
const TOOL = ["--", process.execPath, join(import.meta.dirname, "../../../dist/main.js"), "istio-iptables"];
const patience = Number(process.env["SHUNT_PATIENCE"] ?? "1");
const TIME = 300_000 * patience;
const FLAVOURS = { nft: await whyUnusable("nft"), legacy: await whyUnusable("legacy") };
/** Re-runs take a dozen runs each: these have every kind of rule between them; SHUNT_ISTIO_ALL=1 takes all, with each. */
const RERUN = {
  nft: /(ip-range|\/dns-uid-gid|open04.*)$/,
  legacy: /(ipv6-ipnets|tproxy|ipv6-dns-uid-gid|basic-exclude-nic)$/,
};
const rerunCases = (suite: string, flavour: keyof typeof RERUN): IstioCase[] =>
  bySuite(cases, suite).filter(({ id }) => {
    const asked = suite === "nftables" ? [RERUN.nft, RERUN.legacy] : [RERUN[flavour]];
    return process.env["SHUNT_ISTIO_ALL"] === "1" || asked.some((pattern) => pattern.test(id));
  });
/** Packets through the rules of these. */
const SIX = /(inbound-ports-wildcard(-tproxy)?|ip-range|ipv6-ipnets|outbound-owner-groups|open02.*)$/;
const sixCases = cases.filter(({ id }) => process.env["SHUNT_ISTIO_ALL"] === "1" || SIX.test(id));

const count = (suite: string): number => cases.filter((one) => one.suite === suite).length;
if (reason === undefined) {
  process.stderr.write(`istio-capture: ${count("iptables")} iptables and ${count("nftables")} nftables cases found\n`);
}

function bySuite(list: readonly IstioCase[], suite: string): IstioCase[] {
  return list.filter((one) => one.suite === suite);
}

async function expectAllGood(
  list: readonly IstioCase[],
  script: (one: IstioCase) => Promise<ScriptResult>,
): Promise<void> {
  expect(list.length).toBeGreaterThan(0);
  const results = await byTwos(list, async (one) => ({ id: one.id, ...(await script(one)) }));
  const bad = results.filter(({ status, output }) => status !== 0 || /^FAIL/m.test(output));
  expect(bad.map(({ id, output }) => `${id}\n${output}`)).toEqual([]);
}

const suites = [
  ["iptables", "nft"],
  ["iptables", "legacy"],
  ["nftables", "nft"],
] as const;

it("Istio's cases are found, with every suite of the command line", (context) => {
  // The one skip for all of them.
  if (reason !== undefined) return context.skip(reason);
  expect([count("iptables") > 0, count("nftables") > 0]).toEqual([true, true]);
});

describe.runIf(reason === undefined)("Istio's cases", () => {
  it.each(reason === undefined ? suites : [])(
    "make %s rules with %s as the goldens have them",
    async (suite, flavour) => {
      if (FLAVOURS[flavour] !== undefined) throw new Error(`iptables-${flavour}: ${FLAVOURS[flavour]}`);
      const forced = suite === "iptables" ? ["--force-iptables-binary", flavour] : [];
      await expectAllGood(bySuite(cases, suite), ({ id }) =>
        runScript([join(folder, "run-cli.sh"), id, "--backend", flavour, ...TOOL, ...forced]),
      );
    },
    TIME,
  );

  it.each(reason === undefined ? suites : [])(
    "run again as Istio's do: %s with %s",
    async (suite, flavour) => {
      const forced = suite === "iptables" ? ["--force-iptables-binary", flavour] : [];
      await expectAllGood(rerunCases(suite, flavour), ({ id }) =>
        runScript([join(folder, "rerun.sh"), "-c", `^${id}$`, ...TOOL, ...forced], { BACKEND: flavour }),
      );
    },
    TIME,
  );

  it.each(reason === undefined ? suites : [])(
    "send packets where Istio's rules do: %s with %s",
    async (suite, flavour) => {
      const forced = suite === "iptables" ? ["--force-iptables-binary", flavour] : [];
      const list = bySuite(sixCases, suite);
      await expectAllGood(list, ({ id }) =>
        runScript([join(folder, "sixtypes.sh"), "--quiet", "--case", id, "--with-flags", ...TOOL, ...forced]),
      );
    },
    TIME,
  );
});
