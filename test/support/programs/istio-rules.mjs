// SPDX-License-Identifier: Apache-2.0
/**
 * Prints the rules for one configuration by Istio's Go field names, read as JSON from standard input: iptables suites
 * as Istio's dry-run text, nftables suites as a script. Exits 1 with the message for a configuration it refuses.
 */
import { readFileSync } from "node:fs";
import { sidecarOf } from "./istio-sidecar.mjs";

const built = new URL("../../../dist/intercept/istio/", import.meta.url);
const load = (/** @type {string} */ file) => import(new URL(file, built).href);
const [iptables, nftables, ambientIptables, ambientNftables, renderIptables, { renderNft }, parse] = await Promise.all(
  ["sidecar-iptables", "sidecar-nftables", "ambient-iptables", "ambient-nftables"]
    .concat(["render-iptables", "render-nft", "parse-values"])
    .map((name) => load(`${name}.js`)),
);

const input = JSON.parse(readFileSync(0, "utf8"));
const c = input.config ?? {};
/** A field that Istio leaves out of its JSON has Go's zero value. */
const text = (/** @type {string} */ name) => c[name] ?? "";
const flag = (/** @type {string} */ name) => c[name] === true;

function ambientConfig() {
  const overrides = input.podOverrides ?? {};
  const interfaces = (/** @type {string} */ name) => parse.parseInterfaces((overrides[name] ?? []).join(","), name);
  return {
    enableIpv6: flag("EnableIPv6"),
    redirectDns: flag("RedirectDNS"),
    dnsProxy: overrides.DNSProxy ?? 0,
    ingressMode: overrides.IngressMode === true,
    virtualInterfaces: interfaces("VirtualInterfaces"),
    excludeInterfaces: interfaces("ExcludeInterfaces"),
    hostProbeSnatAddress: text("HostProbeSNATAddress"),
    hostProbeV6SnatAddress: text("HostProbeV6SNATAddress"),
    kubeletUid: input.kubeletUID === undefined ? undefined : Number(input.kubeletUID),
  };
}

function rules() {
  const ipv6 = flag("EnableIPv6");
  const ambientDryRun = (/** @type {unknown} */ program) =>
    renderIptables.renderDryRun(program, { ipv6, finalState: false });
  switch (`${input.suite} ${input.scope ?? "sidecar"}`) {
    case "iptables sidecar":
      return renderIptables.renderDryRun(iptables.sidecarIptables(sidecarOf(parse, c)), { ipv6 });
    case "nftables sidecar":
      return renderNft(nftables.sidecarNftables(sidecarOf(parse, c)));
    case "cni-iptables pod":
      return ambientDryRun(ambientIptables.ambientPodIptables(ambientConfig()));
    case "cni-iptables host":
      return ambientDryRun(ambientIptables.ambientHostIptables(ambientConfig()));
    case "cni-nftables pod":
      return renderNft(ambientNftables.ambientPodNftables(ambientConfig()));
    case "cni-nftables host":
      return renderNft(ambientNftables.ambientHostNftables(ambientConfig()));
    default:
      throw new Error(`no generator for suite ${input.suite}, scope ${input.scope}`);
  }
}

try {
  process.stdout.write(rules());
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
