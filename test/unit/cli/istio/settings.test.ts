// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { ISTIO_FLAGS, type IstioFlag } from "../../../../src/cli/istio/flag-table.ts";
import type { Environment } from "../../../../src/cli/istio/flag-values.ts";
import { type IstioSettings, readSettings } from "../../../../src/cli/istio/settings.ts";

function settings(argv: readonly string[], environment: Environment = {}): IstioSettings {
  const read = readSettings(argv, environment);
  if (read === undefined) throw new Error("help was read");
  return read;
}

describe("without flags and variables", () => {
  it("everything has Istio's default", () => {
    expect(settings([])).toEqual({
      config: {
        proxyPort: 15_001,
        inboundCapturePort: 15_006,
        inboundTunnelPort: 15_008,
        interceptionMode: "REDIRECT",
        inboundTproxyMark: 1337,
        inboundTproxyRouteTable: 133,
        inboundPortsInclude: [],
        inboundPortsExclude: [],
        outboundPortsInclude: [],
        outboundPortsExclude: [],
        outboundIpRangesInclude: [],
        outboundIpRangesExclude: [],
        rerouteVirtualInterfaces: [],
        excludeInterfaces: [],
        redirectDns: false,
        captureAllDns: false,
        dropInvalid: false,
        ownerGroupsInclude: "*",
        ownerGroupsExclude: [],
        hostIpv4LoopbackCidr: "127.0.0.1/32",
      },
      chainPrefix: "ISTIO",
      proxyUid: undefined,
      proxyGid: undefined,
      envoyUser: "istio-proxy",
      dualStack: false,
      networkNamespace: undefined,
      cniMode: false,
      dryRun: false,
      dryRunFile: undefined,
      skipRuleApply: false,
      reconcile: false,
      cleanupOnly: false,
      forceApply: false,
      nativeNftables: false,
      flavour: undefined,
      runValidation: false,
      probePort: 15_002,
      probeTimeoutMs: 5000,
      log: { level: "info", format: "text", target: "stderr" },
      warnings: [],
    });
  });
});

/** Flag, short form, variables, a value, and where it ends up. */
const EVERY: readonly [
  string,
  string | undefined,
  readonly string[],
  string,
  (s: IstioSettings) => unknown,
  unknown,
][] = [
  ["envoy-port", "p", [], "16001", (s) => s.config.proxyPort, 16_001],
  ["inbound-capture-port", "z", ["INBOUND_CAPTURE_PORT"], "16006", (s) => s.config.inboundCapturePort, 16_006],
  ["inbound-tunnel-port", "e", ["INBOUND_TUNNEL_PORT"], "16008", (s) => s.config.inboundTunnelPort, 16_008],
  ["proxy-uid", "u", ["PROXY_UID"], "3,4", (s) => s.proxyUid?.text, "3,4"],
  ["proxy-gid", "g", ["PROXY_GID"], "1,2", (s) => s.proxyGid?.text, "1,2"],
  [
    "istio-inbound-interception-mode",
    "m",
    ["ISTIO_INBOUND_INTERCEPTION_MODE"],
    "TPROXY",
    (s) => s.config.interceptionMode,
    "TPROXY",
  ],
  ["istio-inbound-ports", "b", ["ISTIO_INBOUND_PORTS"], "*", (s) => s.config.inboundPortsInclude, "*"],
  [
    "istio-local-exclude-ports",
    "d",
    ["ISTIO_LOCAL_EXCLUDE_PORTS"],
    "1,2,",
    (s) => s.config.inboundPortsExclude,
    [1, 2],
  ],
  ["istio-exclude-interfaces", "c", ["ISTIO_EXCLUDE_INTERFACES"], "a,b", (s) => s.config.excludeInterfaces, ["a", "b"]],
  [
    "istio-service-cidr",
    "i",
    ["ISTIO_SERVICE_CIDR"],
    "10.1.2.3/8",
    (s) => s.config.outboundIpRangesInclude,
    ["10.1.2.3/8"],
  ],
  [
    "istio-service-exclude-cidr",
    "x",
    ["ISTIO_SERVICE_EXCLUDE_CIDR"],
    "1.1.0.0/16",
    (s) => s.config.outboundIpRangesExclude,
    ["1.1.0.0/16"],
  ],
  ["istio-outbound-ports", "q", ["ISTIO_OUTBOUND_PORTS"], "443", (s) => s.config.outboundPortsInclude, [443]],
  [
    "istio-local-outbound-ports-exclude",
    "o",
    ["ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE"],
    "22",
    (s) => s.config.outboundPortsExclude,
    [22],
  ],
  ["kube-virt-interfaces", "k", ["KUBE_VIRT_INTERFACES"], "vm0", (s) => s.config.rerouteVirtualInterfaces, ["vm0"]],
  ["istio-inbound-tproxy-mark", "t", ["ISTIO_INBOUND_TPROXY_MARK"], "2000", (s) => s.config.inboundTproxyMark, 2000],
  [
    "istio-inbound-tproxy-route-table",
    "r",
    ["ISTIO_INBOUND_TPROXY_ROUTE_TABLE"],
    "200",
    (s) => s.config.inboundTproxyRouteTable,
    200,
  ],
  ["dry-run", "n", ["DRY_RUN"], "true", (s) => s.dryRun, true],
  ["iptables-probe-port", undefined, ["IPTABLES_PROBE_PORT"], "15502", (s) => s.probePort, 15_502],
  ["probe-timeout", undefined, ["PROBE_TIMEOUT"], "1m", (s) => s.probeTimeoutMs, 60_000],
  ["skip-rule-apply", undefined, ["SKIP_RULE_APPLY"], "true", (s) => s.skipRuleApply, true],
  ["run-validation", undefined, ["RUN_VALIDATION"], "true", (s) => s.runValidation, true],
  ["redirect-dns", undefined, ["REDIRECT_DNS", "ISTIO_META_DNS_CAPTURE"], "true", (s) => s.config.redirectDns, true],
  ["drop-invalid", undefined, ["DROP_INVALID", "INVALID_DROP"], "true", (s) => s.config.dropInvalid, true],
  ["dual-stack", undefined, ["DUAL_STACK", "ISTIO_DUAL_STACK"], "true", (s) => s.dualStack, true],
  ["capture-all-dns", undefined, ["CAPTURE_ALL_DNS"], "true", (s) => s.config.captureAllDns, true],
  ["network-namespace", undefined, ["NETWORK_NAMESPACE"], "/run/netns/x", (s) => s.networkNamespace, "/run/netns/x"],
  ["cni-mode", undefined, ["CNI_MODE"], "true", (s) => s.cniMode, true],
  ["reconcile", undefined, ["RECONCILE"], "true", (s) => s.reconcile, true],
  ["cleanup-only", undefined, ["CLEANUP_ONLY"], "true", (s) => s.cleanupOnly, true],
  ["force-apply", undefined, ["FORCE_APPLY"], "true", (s) => s.forceApply, true],
  ["native-nftables", undefined, ["NATIVE_NFTABLES"], "true", (s) => s.nativeNftables, true],
  ["force-iptables-binary", undefined, ["FORCE_IPTABLES_BINARY"], "legacy", (s) => s.flavour, "legacy"],
  ["chain-prefix", undefined, [], "MINE", (s) => s.chainPrefix, "MINE"],
  ["log_output_level", undefined, [], "default:debug,grpc:none", (s) => s.log.level, "debug"],
  ["log_as_json", undefined, [], "true", (s) => s.log.format, "json"],
  ["log_target", undefined, [], "stdout", (s) => s.log.target, "stdout"],
];

describe("every flag", () => {
  it("is in this table", () => {
    const ignored = ["log_stacktrace_level", "log_caller"];
    const names = ISTIO_FLAGS.map(({ name }): string => name).filter((name) => !ignored.includes(name));
    expect(EVERY.map(([name]) => name)).toEqual(names);
    expect(settings(ignored.map((name) => `--${name}=default:error`)).warnings).toEqual([]);
  });

  it.each(EVERY)("--%s works long, short (%s) and by its variables %j", (...row) => {
    const [name, short, variables, text, read, value] = row;
    const flag: IstioFlag | undefined = ISTIO_FLAGS.find((f) => f.name === name);
    expect([flag?.short, flag?.variables]).toEqual([short, variables]);
    expect(read(settings([`--${name}=${text}`]))).toEqual(value);
    if (short !== undefined) expect(read(settings([`-${short}=${text}`]))).toEqual(value);
    for (const variable of variables) expect(read(settings([], { [variable]: text }))).toEqual(value);
  });
});

describe("precedence", () => {
  it("a flag beats every variable, the last of one flag counts", () => {
    const environment = { ISTIO_INBOUND_PORTS: "80", REDIRECT_DNS: "true", ISTIO_META_DNS_CAPTURE: "true" };
    const { config } = settings(["-b", "1", "-b", "2", "--redirect-dns=false"], environment);
    expect([config.inboundPortsInclude, config.redirectDns]).toEqual([[2], false]);
  });

  it("a flag given as nothing beats its variable", () => {
    expect(settings(["-b", ""], { ISTIO_INBOUND_PORTS: "*" }).config.inboundPortsInclude).toEqual([]);
  });

  it("the variable of the other components beats the one named as the flag", () => {
    expect(settings([], { REDIRECT_DNS: "true", ISTIO_META_DNS_CAPTURE: "false" }).config.redirectDns).toBe(false);
    expect(settings([], { DROP_INVALID: "false", INVALID_DROP: "1" }).config.dropInvalid).toBe(true);
  });

  it("ENVOY_PORT does nothing", () => {
    expect(settings([], { ENVOY_PORT: "9" }).config.proxyPort).toBe(15_001);
  });
});

describe("what only the environment sets", () => {
  it("is read, and an empty group list is not an absent one", () => {
    const environment = {
      ISTIO_OUTBOUND_OWNER_GROUPS: "",
      ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE: "888,ftp",
      ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR: "127.0.0.1/8",
      ENVOY_USER: "envoy",
      DRY_RUN_FILE_PATH: "/tmp/x",
    };
    const { config, envoyUser, dryRunFile } = settings([], environment);
    expect(config).toMatchObject({
      ownerGroupsInclude: [],
      ownerGroupsExclude: ["888", "ftp"],
      hostIpv4LoopbackCidr: "127.0.0.1/8",
    });
    expect([envoyUser, dryRunFile]).toEqual(["envoy", "/tmp/x"]);
  });
});

describe("a bad variable that Istio passes over", () => {
  it.each([
    [{ DRY_RUN: "yes" }, 'DRY_RUN "yes" is not true or false; it is ignored'],
    [{ IPTABLES_PROBE_PORT: "70000" }, 'IPTABLES_PROBE_PORT "70000" is not a port (0 … 65535); it is ignored'],
    [{ PROBE_TIMEOUT: "soon" }, 'PROBE_TIMEOUT "soon" is not a duration such as 5s or 1m30s; it is ignored'],
    [{ INVALID_DROP: "" }, 'INVALID_DROP "" is not true or false; it is ignored'],
    [{ INBOUND_CAPTURE_PORT: "" }, 'INBOUND_CAPTURE_PORT "" is empty; it is ignored'],
    [
      { ISTIO_INBOUND_INTERCEPTION_MODE: "NONE" },
      'ISTIO_INBOUND_INTERCEPTION_MODE "NONE" is not REDIRECT or TPROXY; it is ignored',
    ],
  ])("%j is ignored with a warning", (environment, warning) => {
    expect(settings([], environment)).toEqual({ ...settings([]), warnings: [warning] });
  });
});

describe("a bad value names flag or variable, value and what is allowed", () => {
  it.each([
    [["--dry-run=maybe"], {}, '--dry-run "maybe" is not true or false'],
    [["--iptables-probe-port=x"], {}, '--iptables-probe-port "x" is not a port (0 … 65535)'],
    [["--probe-timeout=5"], {}, '--probe-timeout "5" is not a duration such as 5s or 1m30s'],
    [["--probe-timeout=-5s"], {}, '--probe-timeout "-5s" is not a time above 0 and up to 24 days'],
    [["--force-iptables-binary=iptables"], {}, '--force-iptables-binary "iptables" is not legacy or nft'],
    [[], { FORCE_IPTABLES_BINARY: "old" }, 'FORCE_IPTABLES_BINARY "old" is not legacy or nft'],
    [["--log_output_level=loud"], {}, '--log_output_level "loud": "loud" is not LEVEL or SCOPE:LEVEL'],
    [["-p", "http"], {}, '"http"'],
    [["-b", "80,*"], {}, "--istio-inbound-ports"],
    [["-m", "NONE"], {}, '"NONE"'],
    [["-i", "10.0.0.1"], {}, '"10.0.0.1"'],
    [[], { ISTIO_SERVICE_CIDR: "10.0.0.1" }, "ISTIO_SERVICE_CIDR"],
    [["-i", "10.0.0.0/8,*"], {}, "--istio-service-cidr"],
    [["-x", "*"], {}, "--istio-service-exclude-cidr"],
    [["-t", "x"], {}, "--istio-inbound-tproxy-mark"],
    [["-r", "0"], {}, "--istio-inbound-tproxy-route-table"],
    [[], { ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR: "10.0.0.0/8" }, "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR"],
    [[], { ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR: "" }, "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR"],
    [
      [],
      { ISTIO_OUTBOUND_OWNER_GROUPS: Array.from({ length: 65 }, (_, i) => i).join(",") },
      "ISTIO_OUTBOUND_OWNER_GROUPS",
    ],
  ])("%j %j", (argv, environment: Environment, message) => {
    expect(() => settings(argv, environment)).toThrow(message);
  });
});
