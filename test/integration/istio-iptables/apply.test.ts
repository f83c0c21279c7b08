// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { rulesOf, whyUnusable } from "../../support/iptables-save.ts";
import { IstioPod } from "../../support/istio-pod.ts";

const FLAVOURS = ["nft", "legacy"] as const;
/** Every kind of rule that has a place of its own: both families, TPROXY, excluded and virtual interfaces, DNS. */
const FLAGS = ["-b", "*", "-d", "15090", "-i", "*", "-x", "10.1.0.0/16", "-m", "TPROXY", "-c", "nic9", "-k", "vm0"];
const V6_POD = ["fd00:10:88::2/64"];

describe.each(FLAVOURS)("with iptables-%s", async (flavour) => {
  const unusable = await whyUnusable(flavour);
  const forced = ["--force-iptables-binary", flavour];
  let pod: IstioPod;
  const rules = (): string => rulesOf(pod.path, flavour);
  const iptables = (...args: string[]): string => pod.exec(`iptables-${flavour}`, ...args);
  const run = async (...flags: string[]): Promise<number | null> => {
    const result = await pod.run([...forced, ...FLAGS, ...flags]);
    if (result.status === null) throw new Error(result.err);
    return result.status;
  };

  beforeEach(() => {
    pod = new IstioPod(V6_POD, ["10.96.0.10"]);
  });
  afterEach(() => pod[Symbol.dispose]());

  it.skipIf(unusable)("a second run changes nothing, whatever foreign rules came", async () => {
    expect(await run("--redirect-dns")).toBe(0);
    iptables("-t", "nat", "-I", "OUTPUT", "1", "-p", "tcp", "--dport", "123", "-j", "ACCEPT");
    const first = { rules: rules(), marks: pod.markRules() };
    expect(first.rules).toMatch(/ISTIO_OUTPUT_DNS/);
    expect(first.marks).toHaveLength(2);
    const { status, err } = await pod.run([...forced, ...FLAGS, "--redirect-dns"]);
    expect([status, err]).toEqual([0, expect.stringContaining("change=none")]);
    expect({ rules: rules(), marks: pod.markRules() }).toEqual(first);
    expect(pod.hasPassthroughV6()).toBe(true);
  });

  it.skipIf(unusable)("what differs is an error that changes nothing, until --reconcile", async () => {
    expect(await run()).toBe(0);
    const wanted = rules();
    // A rule too many in one family, a jump that is gone in the other.
    iptables("-t", "nat", "-A", "ISTIO_INBOUND", "-p", "tcp", "--dport", "123", "-j", "ACCEPT");
    pod.exec(`ip6tables-${flavour}`, "-t", "nat", "-D", "OUTPUT", "-j", "ISTIO_OUTPUT");
    const drifted = rules();
    const refused = await pod.run([...forced, ...FLAGS]);
    expect(refused).toMatchObject({
      status: 1,
      err: expect.stringMatching(/IPv4 nat ISTIO_INBOUND: 2 rules instead of 1/),
    });
    expect(refused.err).toContain("IPv6 nat OUTPUT lacks -j ISTIO_OUTPUT");
    expect(rules()).toBe(drifted);
    expect(await run("--reconcile")).toBe(0);
    expect(rules()).toBe(wanted);
  });

  it.skipIf(unusable)("--reconcile goes from settings to others and back", async () => {
    const reconcile = (...flags: string[]) => pod.run([...forced, "--reconcile", ...flags]);
    expect((await reconcile("-b", "*", "-i", "*", "-k", "vm0")).status).toBe(0);
    const first = rules();
    expect((await reconcile("-b", "80", "-q", "443", "-k", "vm0", "--drop-invalid")).status).toBe(0);
    expect(rules()).toMatch(/--dport 443 -j ISTIO_REDIRECT[^]*ISTIO_DROP/);
    expect((await reconcile("-b", "*", "-i", "*", "-k", "vm0")).err).toContain(
      "IPv4 mangle ISTIO_DROP should not be there",
    );
    expect(rules()).toBe(first);
  });

  it.skipIf(unusable)("--force-apply over chains that are there is an error", async () => {
    expect(await run("--force-apply")).toBe(0);
    const before = rules();
    expect(await run("--force-apply")).toBe(1);
    expect(rules()).toBe(before);
  });

  it.skipIf(unusable)("--cleanup-only leaves what is not Istio's, and nothing that is", async () => {
    iptables(
      "-t",
      "nat",
      "-A",
      "OUTPUT",
      "-p",
      "tcp",
      "--dport",
      "123",
      "-m",
      "comment",
      "--comment",
      "-j ISTIO_OUTPUT",
      "-j",
      "ACCEPT",
    );
    iptables("-t", "nat", "-N", "FOREIGN");
    iptables("-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-o", "lo", "-j", "FOREIGN");
    const before = rules();
    expect(await run()).toBe(0);
    // Jumps from chains of others hold our chains fast.
    iptables("-t", "nat", "-A", "FOREIGN", "-j", "ISTIO_OUTPUT");
    expect(await run("--cleanup-only")).toBe(0);
    expect(rules()).toBe(before);
    expect(pod.markRules()).toEqual([]);
    expect(await run("--cleanup-only")).toBe(0);
    expect(await run()).toBe(0);
  });

  it.skipIf(unusable)("--cleanup-only without the old flags removes every chain and jump, of IPv6 too", async () => {
    expect(await run()).toBe(0);
    expect((await pod.run(["--cleanup-only"])).status).toBe(0);
    expect(rules()).not.toContain("ISTIO");
  });

  it.skipIf(unusable)("chains of somebody else's IPv6 run matter only while IPv6 is on", async () => {
    using v4 = new IstioPod();
    for (const one of [pod, v4]) one.exec(`ip6tables-${flavour}`, "-t", "nat", "-N", "ISTIO_INBOUND");
    expect(await run()).toBe(1);
    expect(rules()).not.toContain("ISTIO_OUTPUT");
    expect((await v4.run([...forced, ...FLAGS])).status).toBe(0);
  });

  it.skipIf(unusable)("IPv6 rules of a run with --dual-stack are told, and removed by --reconcile", async () => {
    using both = new IstioPod(["10.88.0.2/24", ...V6_POD]);
    const v6 = (): string => both.exec(`ip6tables-${flavour}-save`);
    expect((await both.run([...forced, ...FLAGS, "--dual-stack"])).status).toBe(0);
    const made = v6();
    expect(made).toContain("ISTIO_TPROXY");
    const told = await both.run([...forced, ...FLAGS]);
    expect(told).toMatchObject({ status: 0, err: expect.stringContaining(`"IPv6, iptables of flavour ${flavour}"`) });
    expect(v6().match(/ISTIO_\w+/g)).toEqual(made.match(/ISTIO_\w+/g));
    expect((await both.run([...forced, ...FLAGS, "--reconcile"])).status).toBe(0);
    expect(v6()).not.toMatch(/ISTIO|vm0|nic9/);
    expect(both.exec(`iptables-${flavour}-save`)).toContain("ISTIO_TPROXY");
    expect((await both.run([...forced, ...FLAGS])).err).not.toContain("of an earlier run");
  });

  it.skipIf(unusable)("a refusal of the second family takes the first back", async () => {
    iptables("-t", "nat", "-A", "OUTPUT", "-p", "tcp", "--dport", "123", "-j", "ACCEPT");
    const before = rules();
    const { status, err } = await pod.run([...forced, ...FLAGS], {
      env: { PATH: refusing(pod, flavour) },
    });
    expect([status, err]).toEqual([1, expect.stringContaining("IPv6 rules were refused")]);
    expect(rules()).toBe(before);
    expect(pod.markRules()).toEqual([]);
  });

  it.skipIf(unusable)("a refusal while reconciling brings the rules before back, each in its place", async () => {
    expect(await run()).toBe(0);
    iptables("-t", "nat", "-A", "OUTPUT", "-p", "tcp", "--dport", "123", "-j", "ACCEPT");
    iptables("-t", "nat", "-A", "ISTIO_INBOUND", "-p", "tcp", "--dport", "123", "-j", "ACCEPT");
    const before = rules();
    const { status } = await pod.run([...forced, ...FLAGS, "--reconcile"], {
      env: { PATH: refusing(pod, flavour) },
    });
    expect(status).toBe(1);
    expect(rules()).toBe(before);
  });

  it.skipIf(unusable)("rules under another prefix carry a comment and live beside Istio's", async () => {
    expect(await run()).toBe(0);
    const istio = rules();
    expect(await run("--chain-prefix", "MINE")).toBe(0);
    expect(rules()).toMatch(/-A MINE_OUTPUT .*--comment "?shunt"? .*-j MINE_REDIRECT/);
    expect(await run("--chain-prefix", "MINE")).toBe(0);
    expect(await run("--chain-prefix", "MINE", "--cleanup-only")).toBe(0);
    expect(rules()).toBe(istio);
  });
});

/** A PATH on which ip6tables-restore refuses, once, rules for the proxy's port. */
function refusing(pod: IstioPod, flavour: string): string {
  const once = `${pod.folder}/refused`;
  const script = [
    'case "$*" in *--version*) exec REAL "$@" ;; esac',
    "input=$(cat)",
    `case "$input" in *"-A ISTIO_REDIRECT"*) [ -e ${once} ] || { touch ${once}; echo no >&2; exit 2; } ;; esac`,
    `printf '%s\\n' "$input" | REAL "$@"`,
  ].join("\n");
  return pod.wrap(["ip6tables-restore", `ip6tables-${flavour}-restore`], script);
}

describe("the flavour", () => {
  it("is the one that has Istio's chains already", async () => {
    using pod = new IstioPod();
    expect((await pod.run(["-i", "*", "--force-iptables-binary", "legacy"])).status).toBe(0);
    const { status, err } = await pod.run(["-i", "*"]);
    expect([status, err]).toEqual([0, expect.stringMatching(/flavour=legacy[^]*change=none/)]);
    expect(rulesOf(pod.path, "nft")).not.toContain("ISTIO");
  });

  it("is legacy where somebody has rules in it, else nft", async () => {
    using used = new IstioPod();
    used.exec("iptables-legacy", "-t", "filter", "-A", "INPUT", "-j", "ACCEPT");
    using fresh = new IstioPod();
    expect((await used.run(["-i", "*"])).err).toContain("flavour=legacy");
    expect((await fresh.run(["-i", "*"])).err).toContain("flavour=nft");
  });

  it("is the next one where the first can't do what the rules need", async () => {
    using pod = new IstioPod();
    const PATH = pod.wrap(
      ["iptables-restore", "iptables-nft-restore"],
      'case "$*" in *version*) ;; *) echo "no TPROXY here" >&2; exit 1 ;; esac\nexec REAL "$@"',
    );
    const { status, err } = await pod.run(["-i", "*"], { env: { PATH } });
    expect([status, err]).toEqual([0, expect.stringMatching(/no TPROXY here[^]*flavour=legacy/)]);
    expect(rulesOf(pod.path, "nft")).not.toContain("ISTIO");
    expect(rulesOf(pod.path, "legacy")).toContain("ISTIO_OUTPUT");
  });

  it("leftovers in the other one are named, and removed with --reconcile", async () => {
    using pod = new IstioPod();
    expect((await pod.run(["-i", "*", "--force-iptables-binary", "legacy"])).status).toBe(0);
    expect((await pod.run(["-i", "*", "--native-nftables"])).err).toContain("iptables, flavour legacy");
    const nft = await pod.run(["-i", "*", "--force-iptables-binary", "nft"]);
    expect(nft.err).toMatch(/warn.*iptables, flavour legacy[^]*warn.*nftables istio-proxy-nat/);
    expect((await pod.run(["-i", "*", "--force-iptables-binary", "nft", "--reconcile"])).status).toBe(0);
    expect(rulesOf(pod.path, "legacy")).not.toContain("ISTIO");
    expect(pod.nftRuleset()).not.toContain("istio-proxy");
    expect(rulesOf(pod.path, "nft")).toContain("ISTIO_OUTPUT");
  });

  it("missing ip6tables is an error only while IPv6 is on, and nothing is applied then", async () => {
    using v4 = new IstioPod();
    using v6 = new IstioPod(V6_POD);
    for (const [pod, expected] of [
      [v4, 0],
      [v6, 1],
    ] as const) {
      const PATH = pod.only(
        "iptables-nft",
        "iptables-nft-save",
        "iptables-nft-restore",
        "ip",
        "nft",
        "sh",
        "unshare",
        "nsenter",
        "mount",
        "readlink",
      );
      const { status, err } = await pod.run(["-i", "*"], { env: { PATH } });
      expect([status, err]).toEqual([
        expected,
        expect.stringContaining(expected === 0 ? "change=applied" : "ip6tables of flavour nft is not installed"),
      ]);
    }
    expect(rulesOf(v6.path, "nft")).not.toContain("ISTIO");
  });
});
