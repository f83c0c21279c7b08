// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { findCommand } from "../../../scripts/setup/machine.mjs";
import { ambientHostIptables, ambientPodIptables } from "../../../src/intercept/istio/ambient-iptables.ts";
import { ambientHostNftables, ambientPodNftables } from "../../../src/intercept/istio/ambient-nftables.ts";
import type { IptablesFamily, IptablesProgram } from "../../../src/intercept/istio/iptables-program.ts";
import type { NftProgram } from "../../../src/intercept/istio/nft-program.ts";
import { inFinalOrder } from "../../../src/intercept/istio/nft-program.ts";
import { chainFacts, renderRestore } from "../../../src/intercept/istio/render-iptables.ts";
import { renderNft } from "../../../src/intercept/istio/render-nft.ts";
import { sidecarIptables } from "../../../src/intercept/istio/sidecar-iptables.ts";
import { sidecarNftables } from "../../../src/intercept/istio/sidecar-nftables.ts";
import { inNetns, whyUnusable } from "../../support/iptables-save.ts";
import { anAmbientHost, anAmbientPod, anyAmbientPod, anySidecar, aSidecar } from "../../support/istio-configs.ts";
import { NetLab } from "../../support/net-lab.ts";

let lab: NetLab;
const comment = "shunt:istio";
/** Every kind of rule at once. */
const everything = aSidecar({
  interceptionMode: "TPROXY",
  inboundPortsInclude: "*",
  inboundPortsExclude: [15020],
  outboundIpRangesInclude: "*",
  outboundIpRangesExclude: ["10.9.8.7/16", "fd00:9::/32"],
  outboundPortsInclude: [443],
  outboundPortsExclude: [3306],
  ownerGroupsExclude: ["5"],
  excludeInterfaces: ["mgmt0"],
  rerouteVirtualInterfaces: ["net1", "net2"],
  redirectDns: true,
  dnsServersV4: ["10.96.0.10"],
  dnsServersV6: ["fd00:96::a"],
  dropInvalid: true,
  enableIpv6: true,
});

beforeAll(() => {
  lab = new NetLab("istio-rules");
});
afterAll(() => lab[Symbol.dispose]());

function feed(program: string, args: readonly string[], input: string): void {
  execFileSync("nsenter", [`--net=${lab.client.path}`, program, ...args], { input, stdio: ["pipe", "pipe", "pipe"] });
}

describe.each(["nft", "legacy"] as const)("iptables-%s", (flavour) => {
  const programOf = (family: IptablesFamily): string => (family === 4 ? "iptables" : "ip6tables");
  const empty = ["mangle", "nat", "raw"].map((table) => `*${table}\n-F\n-X\nCOMMIT\n`).join("");

  const restore = (family: IptablesFamily, text: string, ...flags: string[]): void =>
    feed(`${programOf(family)}-${flavour}-restore`, ["--noflush", "-w", "5", ...flags], text);

  /** How many rules each chain of the kernel holds. */
  function counted(family: IptablesFamily): Map<string, number> {
    const saved = inNetns(lab.client.path, `${programOf(family)}-${flavour}-save`);
    const counts = new Map<string, number>();
    let table = "";
    for (const line of saved.split("\n")) {
      if (line.startsWith("*")) table = line.slice(1);
      const key = `${table} ${/^(?::|-A )(\S+)/.exec(line)?.[1]}`;
      if (line.startsWith(":")) counts.set(key, 0);
      if (line.startsWith("-A ")) counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    return counts;
  }

  function loads(program: IptablesProgram): void {
    for (const family of [4, 6] as const) {
      const text = renderRestore(program, family, { comment });
      if (text === "") continue;
      restore(family, text, "--test");
      restore(family, text);
      const counts = counted(family);
      for (const fact of chainFacts(program, family)) {
        expect(counts.get(`${fact.table} ${fact.chain}`), `${fact.table} ${fact.chain}`).toBe(fact.rules);
      }
    }
    for (const family of [4, 6] as const) restore(family, empty);
  }

  beforeEach(async (context) => {
    const missing = await whyUnusable(flavour);
    context.skip(missing !== undefined, missing);
    for (const family of [4, 6] as const) restore(family, empty);
  });

  it("takes the rules of any sidecar and any ambient pod, as many in each chain as expected", () => {
    fc.assert(fc.property(fc.oneof(anySidecar.map(sidecarIptables), anyAmbientPod.map(ambientPodIptables)), loads), {
      numRuns: 25,
    });
  });

  it.each([
    ["a sidecar, IPv4", sidecarIptables(everything), 4],
    ["a sidecar, IPv6", sidecarIptables(everything), 6],
    ["an ambient pod", ambientPodIptables(anAmbientPod({ redirectDns: true })), 4],
  ] as const)("finds each rule of %s by its check, and refuses to make existing chains again", (_, program, family) => {
    const text = renderRestore(program, family, { comment });
    const check = (words: readonly string[]): void => {
      inNetns(lab.client.path, `${programOf(family)}-${flavour}`, "-w", "5", ...words);
    };
    restore(family, text);
    const checks = chainFacts(program, family, { comment }).flatMap((fact) => fact.checks);
    expect(() => checks.forEach(check)).not.toThrow();
    const before = counted(family);
    expect(() => restore(family, text)).toThrow();
    expect(counted(family)).toEqual(before);
  });

  it("takes the rules of an ambient host", (context) => {
    context.skip(findCommand("ipset") === undefined, "ipset is not installed");
    const sets = { 4: "inet", 6: "inet6" };
    for (const family of [4, 6] as const) {
      feed("ipset", ["restore"], `create istio-inpod-probes-v${family} hash:ip family ${sets[family]}\n`);
    }
    expect(() => loads(ambientHostIptables(anAmbientHost({ enableIpv6: true })))).not.toThrow();
    feed("ipset", ["destroy"], "");
  });
});

describe("nft", () => {
  const nft = (text: string): void => feed("nft", ["-f", "-"], text);
  const listed = (): string => inNetns(lab.client.path, "nft", "--stateless", "list", "ruleset");

  beforeEach((context) => {
    context.skip(findCommand("nft") === undefined, "nft is not installed");
    nft("flush ruleset\n");
  });

  /** Twice, since the transaction empties its tables first. */
  function loads(program: NftProgram): void {
    nft(renderNft(program, { comment }));
    const asIstio = listed();
    nft("flush ruleset\n");
    const text = renderNft(inFinalOrder(program), { comment });
    feed("nft", ["-c", "-f", "-"], text);
    nft(text);
    const once = listed();
    expect(once).toBe(asIstio);
    expect(once.split(`comment "${comment}"`).length - 1).toBe(program.tables.flatMap((table) => table.rules).length);
    nft(text);
    expect(listed()).toBe(once);
    nft("flush ruleset\n");
  }

  it("takes the rules of any sidecar and any ambient pod, and the same again", () => {
    fc.assert(fc.property(fc.oneof(anySidecar.map(sidecarNftables), anyAmbientPod.map(ambientPodNftables)), loads), {
      numRuns: 25,
    });
  });

  it("takes everything at once, and DNS servers of a family that is off", () => {
    expect(() => loads(sidecarNftables(everything))).not.toThrow();
    expect(() => loads(sidecarNftables(aSidecar({ redirectDns: true, dnsServersV6: ["fd00::a"] })))).not.toThrow();
  });

  it("takes the rules of an ambient host beside the node agent's sets, and leaves their elements", () => {
    nft(`add table inet istio-ambient-nat
add set inet istio-ambient-nat istio-inpod-probes-v4 { type ipv4_addr; }
add set inet istio-ambient-nat istio-inpod-probes-v6 { type ipv6_addr; }
add element inet istio-ambient-nat istio-inpod-probes-v4 { 10.244.0.7 }
`);
    nft(renderNft(ambientHostNftables(anAmbientHost({ enableIpv6: true }))));
    expect(listed()).toContain("10.244.0.7");
    expect(listed()).toMatch(/skuid 0 ip6 daddr @istio-inpod-probes-v6/);
  });

  it("puts the inserted rules of TPROXY with IPv6 where Istio has them", () => {
    nft(
      renderNft(sidecarNftables(aSidecar({ interceptionMode: "TPROXY", inboundPortsInclude: "*", enableIpv6: true }))),
    );
    const chain = inNetns(lab.client.path, "nft", "list", "chain", "inet", "istio-proxy-mangle", "istio-inbound");
    const order = ["mark 0x00000539", "ip6 saddr ::6", "mark != 0x0000053a", "ip saddr 127.0.0.6", "ct state"];
    const places = order.map((words) => chain.indexOf(words));
    expect(
      places.every((place) => place >= 0),
      chain,
    ).toBe(true);
    expect(places).toEqual([...places].sort((a, b) => a - b));
  });
});
