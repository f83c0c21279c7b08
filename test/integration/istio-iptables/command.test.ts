// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { rulesOf } from "../../support/iptables-save.ts";
import { IstioPod } from "../../support/istio-pod.ts";

describe("bad input", () => {
  it.each([
    [["-b", "http"], {}, /istio-inbound-ports.*http/],
    [["--dry-run=perhaps"], {}, /--dry-run "perhaps" is not true or false/],
    [["--bogus"], {}, /unknown flag --bogus/],
    [["-i", "10.0.0.1"], {}, /10\.0\.0\.1/],
    [["-u", "nobody-at-all"], {}, /--proxy-uid.*nobody-at-all/],
    [[], { ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR: "127.0.0.1/33" }, /ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR.*127\.0\.0\.1\/33/],
    [["--network-namespace", "/proc/self/ns/mnt"], {}, /network namespace \/proc\/self\/ns\/mnt/],
    [["--network-namespace", "/nowhere"], {}, /\/nowhere/],
    [["--chain-prefix", "a b"], {}, /chain prefix "a b"/],
  ])("%j %j is one line and status 1, and nothing is applied", async (flags, env, message) => {
    using pod = new IstioPod(["fd00:10:88::2/64"]);
    const { status, out, err } = await pod.run(["-i", "*", ...flags], { env });
    expect([status, out, err]).toEqual([1, "", expect.stringMatching(message)]);
    expect(err.trimEnd().split("\n")).toHaveLength(1);
    expect(rulesOf(pod.path, "nft")).not.toContain("ISTIO");
    expect(pod.hasPassthroughV6()).toBe(false);
  });

  it("a namespace without an address is one, too", async () => {
    using pod = new IstioPod([]);
    expect(await pod.run(["-i", "*"])).toMatchObject({ status: 1, err: expect.stringContaining("no interface") });
  });
});

describe("surroundings", () => {
  it("IPv6 is on by the first address, or by any with --dual-stack", async () => {
    using pod = new IstioPod(["10.88.0.2/24", "fd00:10:88::2/64"]);
    const v6 = (): boolean => pod.exec("ip6tables-nft-save").includes("ISTIO_OUTPUT");
    expect((await pod.run(["-i", "*"])).err).toContain("IPv6 passes by the proxy");
    expect([v6(), pod.hasPassthroughV6()]).toEqual([false, false]);
    expect((await pod.run(["-i", "*", "--dual-stack"])).err).toContain("change=completed");
    expect([v6(), pod.hasPassthroughV6()]).toEqual([true, true]);
  });

  it("nameservers of both families come from resolv.conf, and without any DNS is left alone", async () => {
    using pod = new IstioPod(["fd00:10:88::2/64"], ["10.96.0.10", "fd00::a", "fe80::1%eth0", "nonsense"]);
    const { status, err } = await pod.run(["--redirect-dns"]);
    expect([status, err]).toEqual([0, expect.stringMatching(/fe80::1%eth0[^]*nonsense/)]);
    expect(pod.exec("iptables-nft-save")).toContain("-d 10.96.0.10/32 -p udp -m udp --dport 53 -j REDIRECT");
    expect(pod.exec("ip6tables-nft-save")).toContain("-d fd00::a/128 -p udp -m udp --dport 53 -j REDIRECT");
    using none = new IstioPod();
    expect((await none.run(["--redirect-dns"])).err).toContain("DNS is not captured");
    expect(rulesOf(none.path, "nft")).not.toContain("15053");
  });

  it("users are ids or names, and the group is that of the user unless told otherwise", async () => {
    using pod = new IstioPod();
    expect((await pod.run(["-u", "daemon"])).status).toBe(0);
    expect(pod.exec("iptables-nft-save")).toMatch(/--uid-owner 1 [^]*--gid-owner 1 /);
    const byVariable = await pod.run(["--reconcile"], { env: { ENVOY_USER: "daemon", PROXY_GID: "5,6" } });
    expect(byVariable.status).toBe(0);
    expect(pod.exec("iptables-nft-save")).toMatch(/--uid-owner 1 [^]*--gid-owner 5 [^]*--gid-owner 6 /);
  });

  it("a bad variable is passed over with a warning that names it", async () => {
    using pod = new IstioPod();
    const { status, err } = await pod.run(["-i", "*"], { env: { CLEANUP_ONLY: "sure" } });
    expect([status, err]).toEqual([0, expect.stringContaining('CLEANUP_ONLY \\"sure\\" is not true or false')]);
    expect(rulesOf(pod.path, "nft")).toContain("ISTIO_OUTPUT");
  });
});

describe("from outside of the namespace", () => {
  it.each([[[]], [["--cni-mode"]]])("with --network-namespace and %j the same rules come about there", async (more) => {
    using inside = new IstioPod(["fd00:10:88::2/64"]);
    using outside = new IstioPod(["fd00:10:88::2/64"]);
    const flags = ["-i", "*", "-b", "*", "-m", "TPROXY", "--force-iptables-binary", "legacy"];
    expect((await inside.run(flags)).status).toBe(0);
    const result = await outside.run([...flags, ...more, "--run-validation"], { fromOutside: true });
    expect([result.status, result.err]).toEqual([0, expect.stringMatching(/family=4[^]*family=6/)]);
    expect(rulesOf(outside.path, "legacy")).toBe(rulesOf(inside.path, "legacy"));
    expect(outside.markRules()).toEqual(inside.markRules());
  });

  it("--cni-mode does not wait for the lock of the node", async () => {
    using pod = new IstioPod();
    const lock = `${pod.folder}/lock`;
    const held = ["flock", "-x", lock];
    const flags = ["-i", "*", "--cni-mode", "--force-iptables-binary", "legacy"];
    const { status, err } = await pod.run(flags, { fromOutside: true, runner: held, env: { XTABLES_LOCKFILE: lock } });
    expect([status, err]).toEqual([0, expect.stringContaining("change=applied")]);
  });
});

describe("a dry run", () => {
  it("prints what would be applied, as Istio does, and applies nothing", async () => {
    using pod = new IstioPod(["fd00:10:88::2/64"]);
    const file = `${pod.folder}/dry-run`;
    const { status, out } = await pod.run(["-n", "-i", "*"], { env: { DRY_RUN_FILE_PATH: file } });
    expect(status).toBe(0);
    expect(out).toMatch(
      /^iptables-save\nip6tables-save\n\* nat\n-N ISTIO_INBOUND\n[^]*COMMIT\n\* nat\n[^]*COMMIT\niptables-save\nip6tables-save\n$/,
    );
    expect(readFileSync(file, "utf8")).toBe(out);
    expect(rulesOf(pod.path, "nft")).not.toContain("ISTIO");
    expect(pod.hasPassthroughV6()).toBe(false);
  });

  it("needs neither root nor iptables", async () => {
    using pod = new IstioPod();
    const PATH = pod.only("sh", "mount", "readlink", "unshare", "nsenter", "setpriv");
    const runner = ["setpriv", "--reuid", "65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"];
    expect(await pod.run(["-n", "-i", "*"], { runner, env: { PATH } })).toMatchObject({ status: 0, err: "" });
  });

  it("of --cleanup-only prints what would be removed", async () => {
    using pod = new IstioPod();
    const { out } = await pod.run(["-n", "-i", "*", "--cleanup-only"]);
    expect(out).toMatch(/iptables -t nat -D OUTPUT -j ISTIO_OUTPUT\n[^]*-F ISTIO_OUTPUT\n[^]*-X ISTIO_OUTPUT\n/);
  });
});

describe("the command", () => {
  it("logs as it is told", async () => {
    using pod = new IstioPod();
    const json = await pod.run(["-i", "*", "--log_as_json", "--log_output_level=default:debug"]);
    expect(JSON.parse(json.err.split("\n")[0] ?? "")).toMatchObject({ level: "info", component: "istio-iptables" });
    expect((await pod.run(["-i", "*", "--log_output_level", "none"])).err).toBe("");
    expect((await pod.run(["-i", "*", "--log_target", "stdout"])).out).toContain("change=none");
    await pod.run(["-i", "*", "--log_target", `${pod.folder}/log`]);
    expect(readFileSync(`${pod.folder}/log`, "utf8")).toContain("change=none");
  });

  it("two at once make one set of rules", async () => {
    using pod = new IstioPod(["fd00:10:88::2/64"]);
    const results = await Promise.all([1, 2, 3].map(() => pod.run(["-i", "*", "-b", "*", "-m", "TPROXY"])));
    expect(results.map((result) => result.status)).toEqual([0, 0, 0]);
    expect(pod.markRules()).toHaveLength(2);
    expect(results.filter((result) => result.err.includes("change=applied"))).toHaveLength(1);
  });

  it("leaves no file behind", async () => {
    using pod = new IstioPod();
    expect((await pod.run(["-i", "*", "--cni-mode"], { fromOutside: true })).status).toBe(0);
    expect(execFileSync("sh", ["-c", "ls -d /tmp/shunt-xtables-* 2>/dev/null || true"], { encoding: "utf8" })).toBe("");
  });
});
