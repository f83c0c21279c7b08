// SPDX-License-Identifier: Apache-2.0
/**
 * The configuration file as people write it: which fields there are and what each may hold. Defaults stand
 * here only as documentation (`default` of the JSON Schema); presets.ts gives them their effect, because
 * they differ between `run` and `exec`.
 */
import { z } from "zod";
import { LOG_FORMATS, LOG_LEVELS } from "../../util/log.ts";
import {
  ACCELERATION_MODES,
  ACCELERATION_PATHS,
  CONTRACT_USES,
  DNS_CAPTURES,
  FAIL_MODES,
  HOPS,
  MODES,
  PACKET_POLICIES,
} from "../model.ts";
import { AGENT_DEFAULTS, PRESET_NAMES, PRESETS } from "../presets.ts";
import * as v from "./values.ts";

const { outbound: out, inbound: inb, failMode, trace } = PRESETS.istio.traffic;

function field<Schema extends z.ZodType>(
  schema: Schema,
  description: string,
  defaultValue?: unknown,
): z.ZodOptional<Schema> {
  return schema.meta({ description, ...(defaultValue === undefined ? {} : { default: defaultValue }) }).optional();
}

function mapping<Shape extends z.ZodRawShape>(shape: Shape): z.ZodObject<Shape, z.core.$strict> {
  return z.strictObject(shape, {
    error: (issue) => (issue.code === "invalid_type" ? `${v.show(issue.input)} is not a mapping of fields` : undefined),
  });
}

const dns = mapping({
  capture: field(
    v.oneOf(DNS_CAPTURES),
    "which DNS queries (UDP and TCP port 53) go to the agent: none, those to the resolvers of resolv.conf, or all",
    out.dns.capture,
  ),
  port: field(v.port, "port the agent answers DNS on; 0 for a free one", out.dns.port),
  servers: field(v.resolvers, "with `resolv.conf`: these resolvers instead of those in the file"),
});

const outbound = mapping({
  enabled: field(v.flag, "intercept connections the workload makes", out.enabled),
  port: field(v.port, "port the proxy takes them on; 0 for a free one", out.port),
  includePorts: field(v.ports, "destination ports captured whatever the address", out.includePorts),
  excludePorts: field(v.ports, "destination ports never captured", out.excludePorts),
  includeCidrs: field(v.cidrSet, "destination addresses captured", "*"),
  excludeCidrs: field(v.cidrs, "destination addresses never captured", out.excludeCidrs),
  captureLoopback: field(v.flag, "capture connections to 127.0.0.0/8 and ::1", out.captureLoopback),
  captureLocal: field(v.flag, "capture connections to addresses of the namespace itself", out.captureLocal),
  includeGroups: field(v.groupSet, "groups whose processes are captured, by id or name", "*"),
  excludeGroups: field(v.groups, "groups whose processes are never captured", out.excludeGroups),
  dns: field(dns, "DNS capture"),
});

const inbound = mapping({
  enabled: field(v.flag, "intercept connections made to the workload", inb.enabled),
  port: field(v.port, "port the proxy takes them on; 0 for a free one", inb.port),
  includePorts: field(v.portSet, "ports of the workload that are captured", "*"),
  excludePorts: field(v.ports, "ports never captured; 15020, 15021 and 15090 are always among them", inb.excludePorts),
  includeCidrs: field(v.cidrSet, "client addresses captured", "*"),
  excludeCidrs: field(v.cidrs, "client addresses never captured", inb.excludeCidrs),
  preserveSource: field(
    v.flag,
    "connect to the workload from the client's address instead of 127.0.0.6 or ::6",
    inb.preserveSource,
  ),
});

const identity = mapping({
  mark: field(v.mark, 'socket mark of the proxy\'s own connections, VALUE or "VALUE/MASK"'),
  uid: field(v.userIds, "user the proxy runs as, or a list of them"),
  gid: field(v.userIds, "group the proxy runs as, or a list of them"),
  cgroup: field(v.cgroup, "cgroup the proxy runs in"),
  external: field(
    v.flag,
    "the proxy is not Shunt's: an unmodified one listens on the ports (its user and group are the preset's unless told otherwise: 1337 with istio)",
    false,
  ),
});

const interfaces = mapping({
  exclude: field(v.interfaces, "interfaces of the namespace whose traffic is left alone, in both directions", []),
  reroute: field(
    v.interfaces,
    "interfaces behind which virtual machines are: what arrives by them is captured as outbound; needs a mode with rules",
    [],
  ),
});

const traffic = {
  preset: field(v.oneOf(PRESET_NAMES), "mesh whose defaults and annotations apply", "istio"),
  annotations: field(
    v.annotations,
    "annotations of the pod, read as the preset's mesh reads them; fields written here go before them",
  ),
  outbound: field(outbound, "connections the workload makes"),
  inbound: field(inbound, "connections made to the workload"),
  proxy: field(identity, "how the proxy's own traffic is recognised; any one that matches is enough"),
  interfaces: field(interfaces, "interfaces treated in their own way"),
  dropInvalid: field(v.flag, "drop packets that connection tracking calls invalid; needs a mode with rules", false),
  failMode: field(
    v.oneOf(FAIL_MODES),
    "new connections while no proxy listens: refuse them or let them pass",
    failMode,
  ),
  trace: field(
    v.flag,
    "log every verdict that the eBPF programs give, as a line `verdict`; rules of iptables are not traced",
    trace,
  ),
};

const target = {
  netns: field(
    v.netns,
    "network namespace: a name under /run/netns or an absolute path; with `cgroup` the one its processes are in",
  ),
  pid: field(v.processId, "the network namespace of this process"),
  cgroup: field(v.cgroup, "processes of this cgroup: absolute, or below the cgroup2 mount"),
};

const name = v.workloadName.meta({ description: "name of the workload, unique in the file" });

const acceleration = field(
  mapping({
    mode: field(
      v.oneOf(ACCELERATION_MODES),
      "`auto`: bytes go past the proxies, or past TCP on their way to one, where that is safe for the reader",
      AGENT_DEFAULTS.acceleration.mode,
    ),
    paths: field(
      v.someOf(ACCELERATION_PATHS),
      "ways that bytes may take; the proxy may always copy them",
      AGENT_DEFAULTS.acceleration.paths,
    ),
    excludePorts: field(
      v.ports,
      "original destination ports whose connections are copied",
      AGENT_DEFAULTS.acceleration.excludePorts,
    ),
    budget: field(
      v.byteCount,
      "bytes of one direction that a reader may leave unread before the rest goes by TCP",
      AGENT_DEFAULTS.acceleration.budget,
    ),
    contract: field(
      v.oneOf(CONTRACT_USES),
      "`asymmetric`: applications receive by TCP; `ignore`: also on a kernel that has not shown that it can be trusted (`shunt probe --contract`)",
      AGENT_DEFAULTS.acceleration.contract,
    ),
    bypassPolicies: field(
      v.someOf(PACKET_POLICIES),
      "kinds of packet policy that bytes may go `direct` past; where another kind stands on the path they don't",
      AGENT_DEFAULTS.acceleration.bypassPolicies,
    ),
    hops: field(
      v.oneOf(HOPS),
      "`one`: a connection from one workload to another, both with this, passes the first one's proxy only (mode ebpf)",
      AGENT_DEFAULTS.acceleration.hops,
    ),
  }),
  "bytes past the proxies; what a workload leaves out is the agent's",
);

const ownMode = field(v.oneOf(MODES), "how this workload's traffic is steered, instead of the agent's `mode`");

export const workloadSchema = mapping({ name, ...target, mode: ownMode, acceleration, ...traffic }).meta({
  oneOf: [{ required: ["pid"] }, { anyOf: [{ required: ["netns"] }, { required: ["cgroup"] }] }],
});

/** `exec --config`: a workload by itself. */
export const execWorkloadSchema = mapping({ name: name.optional(), ...target, mode: ownMode, ...traffic });

const settings = {
  name: field(
    v.scopeName,
    "scope of the agent: one runs per name, and its socket and pins carry it",
    AGENT_DEFAULTS.name,
  ),
  mode: field(v.oneOf(MODES), "how traffic is steered; `mixed` is eBPF outbound, rules inbound", AGENT_DEFAULTS.mode),
  workers: field(v.workerCount, "threads that move the bytes", AGENT_DEFAULTS.workers),
  record: field(v.filePath, "file that gets one JSON line per connection, relative to the working directory"),
  admin: field(v.listenAddress, "also serve /metrics, /ready and the rest on ADDRESS:PORT (a port alone: 127.0.0.1)"),
  logLevel: field(v.oneOf(LOG_LEVELS), "least level that is logged", AGENT_DEFAULTS.logLevel),
  logFormat: field(v.oneOf(LOG_FORMATS), "form of the log on standard error", AGENT_DEFAULTS.logFormat),
  verifyInterval: field(
    v.timeout,
    "how often what is in force is compared with what should be, and repaired; 0s for only at a reload",
    AGENT_DEFAULTS.verifyInterval,
  ),
  acceleration,
  proxy: field(
    mapping({
      connectTimeout: field(
        v.positiveTimeout,
        "longest wait for the upstream to accept",
        AGENT_DEFAULTS.connectTimeout,
      ),
      idleTimeout: field(
        v.timeout,
        "a connection without bytes for this long is closed; 0s for never",
        AGENT_DEFAULTS.idleTimeout,
      ),
    }),
    "Shunt's own proxy",
  ),
};

export const agentSchema = mapping({
  ...settings,
  workloads: z
    .array(workloadSchema, v.isNot("a list of workloads"))
    .meta({ description: "whose traffic is intercepted" }),
});

/** `exec --config`: a whole file with its one workload. */
export const execAgentSchema = mapping({
  ...settings,
  workloads: z.array(execWorkloadSchema, v.isNot("a list of workloads")).length(1, {
    error: ({ input }) => `${Array.isArray(input) ? input.length : 0} workloads, and exec takes exactly one`,
  }),
});

export type RawWorkload = z.infer<typeof workloadSchema>;
export type RawExecWorkload = z.infer<typeof execWorkloadSchema>;
export type RawAgent = z.infer<typeof agentSchema>;
export type RawExecAgent = z.infer<typeof execAgentSchema>;
export type RawTraffic = Pick<
  RawExecWorkload,
  "outbound" | "inbound" | "proxy" | "interfaces" | "dropInvalid" | "failMode" | "trace"
>;
