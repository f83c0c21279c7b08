// SPDX-License-Identifier: Apache-2.0
/** The flags of Istio's `istio-iptables` with their short forms, variables and defaults (istio 1.28, tools/istio-iptables/pkg/cmd). */
import type { OptionSpec } from "../command-spec.ts";

export type FlagKind = "text" | "switch" | "port" | "duration";

export interface IstioFlag {
  readonly name: string;
  readonly short?: string;
  readonly kind: FlagKind;
  readonly metavar: string;
  /** As text; "" where Istio's default is empty. */
  readonly default: string;
  /** Variables that set it, the later ones beating the earlier; the flag beats all. */
  readonly variables: readonly string[];
  readonly description: string;
  readonly choices?: readonly string[];
}

type Extra = Partial<Pick<IstioFlag, "short" | "default" | "choices">> & { readonly alsoVariable?: string };

/** pflag's BindEnv: the name in upper case with "_" for "-". */
function variableOf(name: string): string {
  return name.toUpperCase().replaceAll("-", "_");
}

function flag(kind: FlagKind, name: string, metavar: string, description: string, extra: Extra = {}): IstioFlag {
  const { alsoVariable, ...rest } = extra;
  const variables = [variableOf(name), ...(alsoVariable === undefined ? [] : [alsoVariable])];
  return { name, kind, metavar, default: kind === "switch" ? "false" : "", variables, description, ...rest };
}

function text(name: string, short: string, metavar: string, description: string, extra: Extra = {}): IstioFlag {
  return flag("text", name, metavar, description, { short, ...extra });
}

function toggle(name: string, description: string, extra: Extra = {}): IstioFlag {
  return flag("switch", name, "", description, extra);
}

export const ISTIO_FLAGS = [
  // Bound without a variable: ENVOY_PORT does nothing.
  { ...text("envoy-port", "p", "PORT", "port outbound connections go to", { default: "15001" }), variables: [] },
  text("inbound-capture-port", "z", "PORT", "port inbound connections go to", { default: "15006" }),
  text("inbound-tunnel-port", "e", "PORT", "port of the HBONE tunnel, left alone inbound", { default: "15008" }),
  text("proxy-uid", "u", "UIDS", "users whose traffic is the proxy's own (user istio-proxy, else 1337)"),
  text("proxy-gid", "g", "GIDS", "groups whose traffic is the proxy's own (the value of --proxy-uid)"),
  text("istio-inbound-interception-mode", "m", "MODE", "how inbound connections reach the proxy (REDIRECT)", {
    choices: ["REDIRECT", "TPROXY"],
  }),
  text("istio-inbound-ports", "b", "PORTS", "inbound ports that are captured, * for all (none)"),
  text("istio-local-exclude-ports", "d", "PORTS", "inbound ports left alone while all are captured"),
  text("istio-exclude-interfaces", "c", "NAMES", "interfaces whose traffic is left alone in both directions"),
  text("istio-service-cidr", "i", "CIDRS", "outbound destinations that are captured, * for all (none)"),
  text("istio-service-exclude-cidr", "x", "CIDRS", "outbound destinations left alone"),
  text("istio-outbound-ports", "q", "PORTS", "outbound ports captured whatever the address"),
  text("istio-local-outbound-ports-exclude", "o", "PORTS", "outbound ports left alone, TCP and UDP"),
  text("kube-virt-interfaces", "k", "NAMES", "interfaces of virtual machines, whose traffic counts as outbound"),
  text("istio-inbound-tproxy-mark", "t", "MARK", "mark of packets for the TPROXY listener", { default: "1337" }),
  text("istio-inbound-tproxy-route-table", "r", "TABLE", "routing table of marked packets", { default: "133" }),
  toggle("dry-run", "print the rules and apply nothing", { short: "n" }),
  flag("port", "iptables-probe-port", "PORT", "port the validation connects to", { default: "15002" }),
  flag("duration", "probe-timeout", "TIME", "how long the validation may take", { default: "5s" }),
  toggle("skip-rule-apply", "apply nothing; for --run-validation alone"),
  toggle("run-validation", "check by a connection that the rules work; status 126 if not"),
  toggle("redirect-dns", "capture DNS queries to the servers of /etc/resolv.conf", {
    alsoVariable: "ISTIO_META_DNS_CAPTURE",
  }),
  toggle("drop-invalid", "drop packets that conntrack calls invalid", { alsoVariable: "INVALID_DROP" }),
  toggle("dual-stack", "make IPv6 rules if any address is IPv6, not only if the first one is", {
    alsoVariable: "ISTIO_DUAL_STACK",
  }),
  toggle("capture-all-dns", "with --redirect-dns: queries to any server"),
  flag("text", "network-namespace", "FILE", "network namespace to work in (the caller's own)"),
  toggle("cni-mode", "runs on the host's file system: a lock and a user database of its own"),
  toggle("reconcile", "replace rules that differ, dropping all traffic meanwhile"),
  toggle("cleanup-only", "remove Istio's rules and make none"),
  toggle("force-apply", "apply even if everything seems to be in place"),
  toggle("native-nftables", "nftables instead of iptables"),
  flag("text", "force-iptables-binary", "FLAVOUR", "use iptables of this flavour (chosen by what is there)", {
    choices: ["legacy", "nft"],
  }),
  // Ours, not Istio's.
  {
    ...flag("text", "chain-prefix", "NAME", "what the names of chains and tables begin with", { default: "ISTIO" }),
    variables: [],
  },
  ...[
    flag("text", "log_output_level", "LEVELS", "least level that is logged, LEVEL or SCOPE:LEVEL,…", {
      default: "info",
    }),
    toggle("log_as_json", "log as JSON"),
    flag("text", "log_target", "TARGET", "stdout, stderr or a file (stderr)"),
    flag("text", "log_stacktrace_level", "LEVELS", "accepted and not used"),
    flag("text", "log_caller", "SCOPES", "accepted and not used"),
  ].map((logging) => ({ ...logging, variables: [] })),
] as const satisfies readonly IstioFlag[];

/** Variables that no flag stands for. */
export const ENVIRONMENT_ONLY = [
  ["ISTIO_OUTBOUND_OWNER_GROUPS", "*", "groups whose outbound traffic is captured; set and empty: none"],
  ["ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", "", "groups whose outbound traffic is left alone while all are captured"],
  ["ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", "127.0.0.1/32", "what counts as localhost, a part of 127.0.0.0/8"],
  ["ENVOY_USER", "istio-proxy", "user whose id is the default of --proxy-uid"],
  ["DRY_RUN_FILE_PATH", "", "a dry run writes its text to this file as well"],
] as const;

/** For help, completion and reference. */
export const ISTIO_OPTIONS: readonly OptionSpec[] = ISTIO_FLAGS.map((flag: IstioFlag) => {
  const usual = flag.kind !== "switch" && flag.default !== "" ? ` (${flag.default})` : "";
  const base = {
    long: `--${flag.name}`,
    ...(flag.short !== undefined && { short: `-${flag.short}` }),
    description: `${flag.description}${usual}`,
  };
  return flag.kind === "switch"
    ? { ...base, kind: "switch" }
    : { ...base, kind: "value", metavar: flag.metavar, ...(flag.choices !== undefined && { choices: flag.choices }) };
});
