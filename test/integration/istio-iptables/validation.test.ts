// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { NetworkNamespace } from "../../../src/intercept/network-namespace.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { makeListenSocket } from "../../../src/net/listen-socket.ts";
import { IstioPod } from "../../support/istio-pod.ts";

const VALIDATE = ["--run-validation", "--skip-rule-apply"];
const V6_POD = ["fd00:10:88::2/64"];
/** As Istio's validation container runs: the proxy's user without any capability. */
const CONTAINER = [
  "setpriv",
  "--reuid",
  "1337",
  "--regid",
  "1337",
  "--clear-groups",
  "--bounding-set=-all",
  "--inh-caps=-all",
];

const FORMS = [
  ["iptables-nft", ["--force-iptables-binary", "nft"]],
  ["iptables-legacy", ["--force-iptables-binary", "legacy"]],
  ["nftables", ["--native-nftables"]],
  ["TPROXY", ["-m", "TPROXY"]],
] as const;

describe.each(FORMS)("with %s", (_name, form) => {
  it("a connection of either family proves the rules, for root and for the proxy's own user", async () => {
    using pod = new IstioPod(V6_POD);
    const both = /connection intercepted family=4 port=15006[^]*connection intercepted family=6 port=15006/;
    expect(await pod.run(["-b", "*", ...form, "--run-validation"])).toMatchObject({
      status: 0,
      err: expect.stringMatching(both),
    });
    expect(await pod.run(VALIDATE, { runner: CONTAINER })).toMatchObject({
      status: 0,
      err: expect.stringMatching(both),
    });
  });
});

describe("validation", () => {
  it("ends with 126 where there are no rules, and says where the connection went", async () => {
    using pod = new IstioPod(V6_POD);
    const { status, err } = await pod.run([...VALIDATE, "--probe-timeout", "1s"]);
    expect([status, err]).toEqual([
      126,
      expect.stringContaining("IPv4: the connection went to 127.0.0.6 port 15002 itself"),
    ]);
  });

  it("sees one family that passes by", async () => {
    using pod = new IstioPod(V6_POD);
    expect((await pod.run(["-b", "*"])).status).toBe(0);
    pod.exec("ip6tables-nft", "-t", "nat", "-F", "ISTIO_IN_REDIRECT");
    const { status, err } = await pod.run([...VALIDATE, "--probe-timeout", "1s"]);
    expect([status, err]).toEqual([
      126,
      expect.stringMatching(/intercepted family=4[^]*IPv6: the connection went to ::6/),
    ]);
  });

  it("waits for rules that somebody else is about to make", async () => {
    using pod = new IstioPod(V6_POD);
    const validation = pod.run([...VALIDATE, "--probe-timeout", "30s"]);
    expect((await pod.run(["-b", "*"])).status).toBe(0);
    expect(await validation).toMatchObject({ status: 0 });
  });

  it("counts a connection that a running proxy takes", async () => {
    using pod = new IstioPod();
    using netns = new NetworkNamespace(pod.path);
    expect((await pod.run(["-b", "*"])).status).toBe(0);
    const proxy = makeListenSocket({ address: "0.0.0.0", port: 15_006, netnsFd: netns.fd });
    expect(await pod.run(VALIDATE)).toMatchObject({ status: 0, err: expect.stringContaining("of a running proxy") });
    // Without rules the same proxy proves nothing.
    expect((await pod.run(["--cleanup-only"])).status).toBe(0);
    expect((await pod.run([...VALIDATE, "--probe-timeout", "1s"])).status).toBe(126);
    loadAddon().closeFd(proxy);
  });

  it("refuses a probe port on which somebody listens", async () => {
    using pod = new IstioPod();
    using netns = new NetworkNamespace(pod.path);
    expect((await pod.run(["-b", "*"])).status).toBe(0);
    const taken = makeListenSocket({ address: "0.0.0.0", port: 15_002, netnsFd: netns.fd });
    expect(await pod.run(VALIDATE)).toMatchObject({
      status: 126,
      err: expect.stringContaining("use another probe port"),
    });
    expect(await pod.run([...VALIDATE, "--iptables-probe-port", "15502"])).toMatchObject({ status: 0 });
    loadAddon().closeFd(taken);
  });

  it("with a loopback range of 127.0.0.0/8 proves IPv6 alone, and fails where that leaves nothing", async () => {
    const env = { ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR: "127.0.0.1/8" };
    using both = new IstioPod(V6_POD);
    expect((await both.run(["-b", "*", "--run-validation"], { env })).status).toBe(0);
    using v4 = new IstioPod();
    expect(await v4.run(["-b", "*", "--run-validation"], { env })).toMatchObject({
      status: 126,
      err: expect.stringMatching(/127\.0\.0\.6 is in the loopback range 127\.0\.0\.1\/8[^]*nothing can be tested/),
    });
  });

  it("says that root without CAP_SETUID can't be the proxy", async () => {
    using pod = new IstioPod();
    const runner = ["setpriv", "--bounding-set=-all,+net_admin,+net_raw", "--inh-caps=-all"];
    const { status, err } = await pod.run(["-b", "*", "--run-validation", "--probe-timeout", "1s"], { runner });
    expect([status, err]).toEqual([126, expect.stringContaining("as user 1337")]);
  });
});
