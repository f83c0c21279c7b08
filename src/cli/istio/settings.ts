// SPDX-License-Identifier: Apache-2.0
/** From flags and environment to what the rules are made from; pure, so that nothing of the pod is looked at before all is checked. */
import type { SidecarConfig } from "../../intercept/istio/istio-config.ts";
import * as parse from "../../intercept/istio/parse-values.ts";
import { FlagError } from "./flag-error.ts";
import { type Environment, type FlagName, type FlagValue, FlagValues } from "./flag-values.ts";
import { parseGoDuration, parseGoUint16 } from "./go-values.ts";
import { type LogSettings, parseLogSettings } from "./log-settings.ts";

/** Known from flags alone; what the pod says is added by `completeConfig`. */
export type FlagConfig = Omit<
  SidecarConfig,
  "proxyUids" | "proxyGids" | "dnsServersV4" | "dnsServersV6" | "enableIpv6"
>;

export interface IstioSettings {
  readonly config: FlagConfig;
  readonly chainPrefix: string;
  /** Lists of ids or names with the flag or variable they come from; undefined: not given. */
  readonly proxyUid: FlagValue | undefined;
  readonly proxyGid: FlagValue | undefined;
  readonly envoyUser: string;
  readonly dualStack: boolean;
  readonly networkNamespace: string | undefined;
  readonly cniMode: boolean;
  readonly dryRun: boolean;
  readonly dryRunFile: string | undefined;
  readonly skipRuleApply: boolean;
  readonly reconcile: boolean;
  readonly cleanupOnly: boolean;
  readonly forceApply: boolean;
  readonly nativeNftables: boolean;
  readonly flavour: "legacy" | "nft" | undefined;
  readonly runValidation: boolean;
  readonly probePort: number;
  readonly probeTimeoutMs: number;
  readonly log: LogSettings;
  readonly warnings: readonly string[];
}

/** Undefined: help is asked for. Throws a FlagError or an IstioConfigError, which name flag or variable, value and what is allowed. */
export function readSettings(argv: readonly string[], environment: Environment): IstioSettings | undefined {
  const flags = new FlagValues(argv, environment);
  if (flags.help) return undefined;
  const warnings = [...flags.warnings];
  const from = <T>(name: FlagName, parser: (text: string, field: string) => T): T => {
    const { text, origin } = flags.get(name);
    return parser(text, origin);
  };
  const given = (name: FlagName): FlagValue | undefined => (flags.text(name) === "" ? undefined : flags.get(name));
  return {
    config: {
      proxyPort: from("envoy-port", parse.parsePort),
      inboundCapturePort: from("inbound-capture-port", parse.parsePort),
      inboundTunnelPort: from("inbound-tunnel-port", parse.parsePort),
      interceptionMode: parse.parseInterceptionMode(modeOf(flags, warnings), "--istio-inbound-interception-mode"),
      inboundTproxyMark: from("istio-inbound-tproxy-mark", parse.parseMark),
      inboundTproxyRouteTable: from("istio-inbound-tproxy-route-table", parse.parseRouteTable),
      inboundPortsInclude: from("istio-inbound-ports", parse.parsePortsOrWildcard),
      inboundPortsExclude: from("istio-local-exclude-ports", parse.parsePorts),
      outboundPortsInclude: from("istio-outbound-ports", parse.parsePorts),
      outboundPortsExclude: from("istio-local-outbound-ports-exclude", parse.parsePorts),
      outboundIpRangesInclude: from("istio-service-cidr", parse.parseRangesOrWildcard),
      outboundIpRangesExclude: from("istio-service-exclude-cidr", parse.parseRanges),
      rerouteVirtualInterfaces: from("kube-virt-interfaces", parse.parseInterfaces),
      excludeInterfaces: from("istio-exclude-interfaces", parse.parseInterfaces),
      redirectDns: flags.isOn("redirect-dns"),
      captureAllDns: flags.isOn("capture-all-dns"),
      dropInvalid: flags.isOn("drop-invalid"),
      ...readEnvironmentOnly(environment),
    },
    chainPrefix: flags.text("chain-prefix"),
    proxyUid: given("proxy-uid"),
    proxyGid: given("proxy-gid"),
    envoyUser: environment["ENVOY_USER"] ?? "istio-proxy",
    dualStack: flags.isOn("dual-stack"),
    networkNamespace: given("network-namespace")?.text,
    cniMode: flags.isOn("cni-mode"),
    dryRun: flags.isOn("dry-run"),
    dryRunFile: environment["DRY_RUN_FILE_PATH"] === "" ? undefined : environment["DRY_RUN_FILE_PATH"],
    skipRuleApply: flags.isOn("skip-rule-apply"),
    reconcile: flags.isOn("reconcile"),
    cleanupOnly: flags.isOn("cleanup-only"),
    forceApply: flags.isOn("force-apply"),
    nativeNftables: flags.isOn("native-nftables"),
    flavour: from("force-iptables-binary", flavourOf),
    runValidation: flags.isOn("run-validation"),
    probePort: from("iptables-probe-port", (text) =>
      parse.parsePort(String(parseGoUint16(text)), "--iptables-probe-port"),
    ),
    probeTimeoutMs: from("probe-timeout", timeoutOf),
    log: parseLogSettings(flags),
    warnings,
  };
}

/** Istio takes anything but TPROXY for REDIRECT: said where it comes from the environment, refused where it was typed. */
function modeOf(flags: FlagValues, warnings: string[]): string {
  const { text, origin, from } = flags.get("istio-inbound-interception-mode");
  if (from !== "variable" || ["", "REDIRECT", "TPROXY"].includes(text)) return text;
  warnings.push(`${origin} ${JSON.stringify(text)} is not REDIRECT or TPROXY; it is ignored`);
  return "";
}

function readEnvironmentOnly(
  environment: Environment,
): Pick<FlagConfig, "ownerGroupsInclude" | "ownerGroupsExclude" | "hostIpv4LoopbackCidr"> {
  const from = <T>(name: string, fallback: string, parser: (text: string, field: string) => T): T =>
    parser(environment[name] ?? fallback, name);
  return {
    ownerGroupsInclude: from("ISTIO_OUTBOUND_OWNER_GROUPS", "*", parse.parseOwnerGroups),
    ownerGroupsExclude: from("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", "", parse.parseExcludedOwnerGroups),
    hostIpv4LoopbackCidr: from("ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", "127.0.0.1/32", parse.parseLoopbackCidr),
  };
}

function flavourOf(text: string, field: string): "legacy" | "nft" | undefined {
  if (text === "") return undefined;
  if (text === "legacy" || text === "nft") return text;
  throw new FlagError(`${field} ${JSON.stringify(text)} is not legacy or nft`);
}

function timeoutOf(text: string, field: string): number {
  const ms = parseGoDuration(text) ?? Number.NaN;
  // Beyond, Node's timers fire at once.
  if (ms > 0 && ms <= 2_147_483_647) return ms;
  throw new FlagError(`${field} ${JSON.stringify(text)} is not a time above 0 and up to 24 days`);
}
