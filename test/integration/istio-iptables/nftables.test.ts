// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { rulesOf } from "../../support/iptables-save.ts";
import { IstioPod } from "../../support/istio-pod.ts";

const FLAGS = [
  "--native-nftables",
  "-b",
  "80",
  "-m",
  "TPROXY",
  "-i",
  "10.0.0.0/8,fd00::/8",
  "-k",
  "vm0,vm1",
  "--dual-stack",
];
/** What an init container has: no namespace can be made for a trial. */
const CONTAINER = ["setpriv", "--bounding-set=-all,+net_admin,+net_raw", "--inh-caps=-all"];

describe("with --native-nftables", () => {
  let pod: IstioPod;
  beforeEach(() => {
    pod = new IstioPod(["10.88.0.2/24", "fd00:10:88::2/64"]);
    pod.exec("nft", "add", "table", "inet", "mine");
  });
  afterEach(() => pod[Symbol.dispose]());

  it("a second run changes nothing, and what differs is repaired in one transaction", async () => {
    expect((await pod.run(FLAGS)).err).toContain("change=applied");
    const wanted = pod.nftRuleset();
    expect(wanted).toMatch(
      /table inet istio-proxy-nat[^]*table inet istio-proxy-mangle|table inet istio-proxy-mangle[^]*table inet istio-proxy-nat/,
    );
    // Counters go on: nothing was replaced.
    pod.exec("nft", "add", "rule", "inet", "istio-proxy-nat", "istio-output", "ip daddr 127.9.9.9 counter accept");
    expect((await pod.run(FLAGS)).err).toContain("change=reconciled");
    expect(pod.nftRuleset()).toBe(wanted);
    expect((await pod.run(FLAGS)).err).toContain("change=none");
    expect(pod.nftRuleset()).toBe(wanted);
    expect(pod.markRules()).toHaveLength(2);
    expect(pod.hasPassthroughV6()).toBe(true);
  });

  it("tables and chains that other settings made go", async () => {
    expect((await pod.run(FLAGS)).status).toBe(0);
    expect((await pod.run(["--native-nftables", "-i", "*"])).err).toContain(
      "table istio-proxy-mangle should not be there",
    );
    using fresh = new IstioPod();
    expect((await fresh.run(["--native-nftables", "-i", "*"])).status).toBe(0);
    const listing = (one: IstioPod): string => one.exec("nft", "-s", "list", "table", "inet", "istio-proxy-nat");
    expect(listing(pod)).toBe(listing(fresh));
  });

  it("--cleanup-only removes Istio's tables and no others", async () => {
    expect((await pod.run(FLAGS)).status).toBe(0);
    expect((await pod.run([...FLAGS, "--cleanup-only"])).status).toBe(0);
    expect(pod.nftRuleset()).toBe("table inet mine {\n}\n");
    expect(pod.markRules()).toEqual([]);
  });

  it("a dry run prints the transaction and applies nothing", async () => {
    const { status, out } = await pod.run([...FLAGS, "--dry-run"]);
    expect([status, out]).toEqual([0, expect.stringMatching(/^add table inet istio-proxy-/)]);
    expect(pod.nftRuleset()).toBe("table inet mine {\n}\n");
    expect([pod.markRules(), pod.hasPassthroughV6()]).toEqual([[], false]);
    // What is printed is what is applied.
    pod.exec("sh", "-c", `printf '%s' '${out}' | nft -f -`);
    const printed = pod.nftRuleset();
    expect((await pod.run(FLAGS)).err).toContain("change=none");
    expect(pod.nftRuleset()).toBe(printed);
  });

  it("works with the capabilities of an init container", async () => {
    for (const flags of [FLAGS, FLAGS, [...FLAGS, "--cleanup-only"]]) {
      const { status, err } = await pod.run(flags, { runner: CONTAINER });
      expect([status, err]).toEqual([0, expect.any(String)]);
    }
    expect(pod.nftRuleset()).toBe("table inet mine {\n}\n");
  });

  it("a failing route takes the rules back", async () => {
    const before = pod.nftRuleset();
    const PATH = pod.wrap(
      ["ip"],
      'case "$*" in *"rule add"*) echo "RTNETLINK answers: no" >&2; exit 2 ;; esac\nexec REAL "$@"',
    );
    const { status, err } = await pod.run(FLAGS, { env: { PATH } });
    expect([status, err]).toEqual([1, expect.stringContaining("policy routing")]);
    expect(pod.nftRuleset()).toBe(before);
    expect(pod.hasPassthroughV6()).toBe(false);
    expect(pod.exec("ip", "route", "show", "table", "133").trim()).toBe("");
  });
});

describe("an init container's capabilities", () => {
  it.each(["nft", "legacy"] as const)("are enough for iptables-%s, from the first run to the last", async (flavour) => {
    using pod = new IstioPod(["fd00:10:88::2/64"]);
    const flags = ["-i", "*", "-b", "*", "-m", "TPROXY", "--force-iptables-binary", flavour];
    for (const more of [[], [], ["--reconcile", "--force-apply"], ["--cleanup-only"]]) {
      const { status, err } = await pod.run([...flags, ...more], { runner: CONTAINER });
      expect([status, err]).toEqual([0, expect.any(String)]);
    }
    expect(rulesOf(pod.path, flavour)).not.toContain("ISTIO");
  });
});
