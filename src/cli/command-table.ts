// SPDX-License-Identifier: Apache-2.0
/** Every command with its options, in the order help lists them. */
import { RULES_ACTIONS, RULES_BACKENDS } from "../config/formats/rules.ts";
import { DNS_CAPTURES, FAIL_MODES, MODES } from "../config/model.ts";
import { PRESET_NAMES } from "../config/presets.ts";
import { LOG_FORMATS, LOG_LEVELS } from "../util/log.ts";
import { BENCH } from "./bench-spec.ts";
import type { CommandSpec } from "./command-spec.ts";
import { ISTIO_OPTIONS } from "./istio/flag-table.ts";
import { toggle, value } from "./option-specs.ts";
import * as parse from "./option-values.ts";

export const SHELLS = ["bash", "zsh", "fish"] as const;

const json = toggle("--json", "print JSON instead of text");
const mode = value("--mode", "MODE", "how traffic is steered (auto)", { choices: MODES });
const record = value("--record", "FILE", "append one JSON line per connection to FILE", {
  parse: parse.nonEmpty,
  completion: "file",
});
const logFormat = value("--log-format", "FORMAT", "form of the log on standard error", { choices: LOG_FORMATS });
const logLevel = value("--log-level", "LEVEL", "least level that is logged", { choices: LOG_LEVELS });
const cgroupRoot = value("--cgroup-root", "DIR", "cgroup2 mount to use (found in /proc/self/mountinfo)", {
  parse: parse.nonEmpty,
  completion: "directory",
});
const name = value("--name", "NAME", "agent to talk to (default)", { parse: parse.scopeName });
const socket = value("--socket", "FILE", "its socket (/run/shunt/NAME/admin.sock)", {
  parse: parse.nonEmpty,
  completion: "file",
});
const direction = value("--direction", "DIRECTION", "seen from the workload", { choices: ["outbound", "inbound"] });

export const WORKLOAD_OPTIONS = [
  value("--workload-netns", "NS", "intercept a network namespace: name under /run/netns or path", {
    parse: parse.nonEmpty,
    repeatable: true,
    completion: "file",
  }),
  value("--workload-pid", "PID", "intercept the network namespace of a process", {
    parse: parse.processId,
    repeatable: true,
  }),
  value("--workload-cgroup", "DIR", "intercept the processes of a cgroup", {
    parse: parse.nonEmpty,
    repeatable: true,
    completion: "directory",
  }),
] as const;

/** For every workload given by a flag; the same fields as in the configuration file. */
export const TRAFFIC_OPTIONS = [
  value("--preset", "NAME", "mesh whose defaults and annotations apply (istio)", { choices: PRESET_NAMES }),
  value("--annotation", "KEY=VALUE", "an annotation of the pod, as the preset's mesh reads it", {
    parse: parse.annotation,
    repeatable: true,
  }),
  value("--outbound-port", "PORT", "port the proxy takes outbound connections on (15001)", { parse: parse.portNumber }),
  value("--include-outbound-ports", "PORTS", "destination ports captured whatever the address", {
    parse: parse.portList,
  }),
  value("--exclude-outbound-ports", "PORTS", "destination ports never captured", { parse: parse.portList }),
  value("--include-outbound-cidrs", "CIDRS", "destination addresses captured (*)", { parse: parse.commaList }),
  value("--exclude-outbound-cidrs", "CIDRS", "destination addresses never captured", { parse: parse.commaList }),
  value("--include-outbound-groups", "GROUPS", "groups whose processes are captured, by id or name (*)", {
    parse: parse.groupSet,
  }),
  value("--exclude-outbound-groups", "GROUPS", "groups whose processes are never captured", {
    parse: parse.groupList,
  }),
  value("--dns-capture", "WHICH", "DNS queries that go to the agent (off)", { choices: DNS_CAPTURES }),
  toggle("--capture-loopback", "capture connections to 127.0.0.0/8 and ::1"),
  toggle("--capture-local", "capture connections to the namespace's own addresses"),
  toggle("--no-outbound", "leave outbound connections alone"),
  value("--inbound-port", "PORT", "port the proxy takes inbound connections on (15006)", { parse: parse.portNumber }),
  value("--include-inbound-ports", "PORTS", "ports of the workload that are captured (*)", { parse: parse.portSet }),
  value("--exclude-inbound-ports", "PORTS", "ports never captured, beside 15020, 15021 and 15090", {
    parse: parse.portList,
  }),
  value("--include-inbound-cidrs", "CIDRS", "client addresses captured (*)", { parse: parse.commaList }),
  value("--exclude-inbound-cidrs", "CIDRS", "client addresses never captured", { parse: parse.commaList }),
  toggle("--preserve-source", "connect to the workload from the client's address"),
  toggle("--no-inbound", "leave inbound connections alone"),
  value("--exclude-interfaces", "NAMES", "interfaces whose traffic is left alone, both ways", {
    parse: parse.commaList,
  }),
  value("--reroute-interfaces", "NAMES", "interfaces behind which virtual machines are: captured as outbound", {
    parse: parse.commaList,
  }),
  toggle("--drop-invalid", "drop packets that connection tracking calls invalid (modes with rules)"),
  value("--fail-mode", "MODE", "new connections while no proxy listens (deny)", { choices: FAIL_MODES }),
  toggle("--external-proxy", "an unmodified proxy listens on the ports, not Shunt's"),
  value("--proxy-mark", "MARK", "its socket mark, VALUE or VALUE/MASK", { parse: parse.nonEmpty }),
  value("--proxy-uid", "UIDS", "user it runs as, or several", { parse: parse.userIds }),
  value("--proxy-gid", "GIDS", "group it runs as, or several", { parse: parse.userIds }),
] as const;

export const COMMANDS: readonly CommandSpec[] = [
  {
    name: "run",
    summary: "intercept the traffic of workloads until told to stop",
    description: [
      "Workloads come from a file (--config) or from flags (--workload-…), not both. Prints one line `ready` when traffic is intercepted. SIGHUP and a change of the file read the configuration again; SIGTERM and SIGINT stop the agent and take away what it added.",
    ],
    options: [
      value("--config", "FILE", "configuration file (YAML)", { parse: parse.nonEmpty, completion: "file" }),
      toggle("--check", "check the configuration and end; with --json print it with every default"),
      value("--name", "NAME", "scope of the agent: one runs per name (default)", { parse: parse.scopeName }),
      mode,
      value("--workers", "N", "threads that move the bytes (2)", { parse: parse.workerCount }),
      record,
      value("--admin", "ADDRESS:PORT", "also serve metrics and state over TCP (a port alone: 127.0.0.1)", {
        parse: parse.adminAddress,
      }),
      logFormat,
      logLevel,
      cgroupRoot,
      json,
      ...WORKLOAD_OPTIONS,
      ...TRAFFIC_OPTIONS,
    ],
    arguments: [],
    examples: [
      "shunt run --config /etc/shunt/agent.yaml",
      "shunt run --config agent.yaml --check",
      "shunt run --workload-netns blue --exclude-outbound-ports 22 --record /tmp/blue.jsonl",
    ],
  },
  {
    name: "exec",
    summary: "run a command with its connections intercepted",
    description: [
      "Captures every outbound TCP connection of CMD and its descendants, loopback and own addresses included, and nothing of anybody else. Ends with CMD's status: 128+N if signal N ended it, 127 if it is not found, 126 if it can't be run; 125 when Shunt itself fails, 2 for a wrong use of this command.",
      "Descendants that outlive CMD are waited for.",
    ],
    options: [
      mode,
      record,
      value("--config", "FILE", "rules for CMD: one workload of a configuration file, name and target optional", {
        parse: parse.nonEmpty,
        completion: "file",
      }),
      value("--preset", "NAME", "what is captured unless the file says otherwise (all)", { choices: PRESET_NAMES }),
      value("--netns", "NS", "run CMD in this network namespace: name under /run/netns or path", {
        parse: parse.nonEmpty,
        completion: "file",
      }),
      value("--inbound", "PORTS", "also capture connections made to these ports (* for all); only with --netns", {
        parse: parse.portSet,
      }),
      toggle("--kill-descendants", "end the descendants that outlive CMD instead of waiting"),
      logFormat,
      logLevel,
      cgroupRoot,
    ],
    arguments: [
      {
        metavar: "CMD",
        description: "command to run, and its arguments",
        required: true,
        variadic: true,
        completion: "command",
      },
    ],
    passThrough: true,
    examples: ["shunt exec -- curl http://example.com/", "shunt exec --record calls.jsonl --mode iptables -- npm test"],
  },
  {
    name: "probe",
    summary: "tell what this machine can do, what would be chosen, and why",
    description: [
      "Tries every capability in a network namespace and a cgroup of its own. Ends with 69 when no mode is possible.",
    ],
    options: [
      cgroupRoot,
      toggle("--contract", "try the behaviours that acceleration depends on as well (docs/acceleration.md)"),
      json,
    ],
    arguments: [],
    examples: [
      "shunt probe",
      "shunt probe --json | jq .mode",
      "shunt probe --contract --json | jq .contract.acceleration",
    ],
  },
  {
    name: "status",
    summary: "show what a running agent does",
    description: [],
    options: [name, socket, json],
    arguments: [],
    examples: ["shunt status", "shunt status --name blue --json"],
  },
  {
    name: "flows",
    summary: "watch who talks to whom, and how it is intercepted",
    description: [
      "On a terminal a table that is drawn anew each second; elsewhere, or with --json, one line when a connection begins and one when it ends. Ends with Ctrl-C or with the agent.",
    ],
    options: [
      value("--workload", "NAME", "only this workload", { parse: parse.nonEmpty }),
      toggle("--once", "print what there is now and end"),
      name,
      socket,
      json,
    ],
    arguments: [],
    examples: ["shunt flows", "shunt flows --workload blue --json"],
  },
  {
    name: "explain",
    summary: "tell which rule decides about a connection",
    description: ["Asks a running agent; nothing is sent to the address."],
    options: [
      value("--workload", "NAME", "workload as named in the configuration", { parse: parse.nonEmpty }),
      direction,
      value("--address", "IP", "destination; inbound an address of the workload", { parse: parse.ipAddress }),
      value("--port", "PORT", "destination port", { parse: parse.portNumber }),
      value("--source", "IP", "who connects", { parse: parse.ipAddress }),
      value("--uid", "UID", "outbound: user of the process that connects (one that no list names)", {
        parse: parse.userId,
      }),
      value("--gid", "GID", "outbound: its group (one that no list names)", { parse: parse.userId }),
      value("--mark", "MARK", "outbound: SO_MARK of its socket, such as 1337 or 0x539 (0)", {
        parse: parse.socketMark,
      }),
      value(
        "--interface",
        "NAME",
        "interface by which it arrives or leaves (outbound by the routes, inbound one that no list names)",
        {
          parse: parse.interfaceName,
        },
      ),
      toggle("--udp", "a datagram instead of a TCP connection"),
      name,
      socket,
      json,
    ],
    arguments: [],
    examples: [
      "shunt explain --workload blue --direction outbound --address 10.0.0.9 --port 443",
      "shunt explain --workload blue --direction outbound --address 10.0.0.53 --port 53 --udp --uid 1000 --gid 1000",
    ],
  },
  {
    name: "acceleration",
    summary: "switch acceleration of an agent on or off",
    description: [
      "Without --on or --off only tells how it is. The configuration is left alone: an agent that is started anew begins with it.",
    ],
    options: [
      toggle("--off", "from its next message on each connection goes by TCP, and stays there"),
      toggle("--on", "connections that are made from now on may be accelerated"),
      name,
      socket,
      json,
    ],
    arguments: [],
    examples: ["shunt acceleration", "shunt acceleration --off --name blue"],
  },
  {
    name: "rules",
    summary: "make, check or take away the interception of a workload by hand",
    description: [
      "ACTION is plan (print what would be applied and touch nothing; needs no root), apply (all or nothing; again changes nothing; what differs from the plan is brought to it), verify (print what differs; ends with 1 when there is anything), remove, or validate (make connections from inside the namespace that must be intercepted; ends with 126 when they are not).",
      "The workload is a namespace or a process with the traffic flags of `run`, a pod with its manifest, or those of an agent's file. Unless the file says otherwise an unmodified proxy listens on the ports. docs/rules.md has it all.",
    ],
    options: [
      value("--netns", "NS", "network namespace: name under /run/netns or path", {
        parse: parse.nonEmpty,
        completion: "file",
      }),
      value("--pid", "PID", "the network namespace of a process", { parse: parse.processId }),
      value("--pod", "FILE", "manifest of the pod that is in the namespace, YAML or JSON; - for standard input", {
        parse: parse.nonEmpty,
        completion: "file",
      }),
      value("--config", "FILE", "workloads of an agent's configuration file", {
        parse: parse.nonEmpty,
        completion: "file",
      }),
      value("--workload", "NAME", "with --config: only this one", { parse: parse.nonEmpty, repeatable: true }),
      value(
        "--name",
        "NAME",
        "name of the workload, by which it is found again (the namespace's, pid-PID, the pod's)",
        {
          parse: parse.nonEmpty,
        },
      ),
      value("--backend", "NAME", "what intercepts (what has the workload already, else the rules auto would choose)", {
        choices: RULES_BACKENDS,
      }),
      value("--chain-prefix", "PREFIX", "with iptables: SHUNT for rules of ours, ISTIO for Istio's own", {
        choices: ["SHUNT", "ISTIO"],
      }),
      toggle("--remove-leftovers", "apply, verify: also remove what others and earlier versions have left"),
      value("--format", "FORMAT", "form of the report (text)", { choices: ["text", "json"] }),
      ...TRAFFIC_OPTIONS,
    ],
    arguments: [{ metavar: "ACTION", description: "what to do", required: true, choices: RULES_ACTIONS }],
    examples: [
      "shunt rules plan --netns blue --backend nftables",
      "shunt rules apply --netns blue --exclude-outbound-ports 22",
      "kubectl get pod web-0 -o json | shunt rules apply --pid 4711 --pod -",
      "shunt rules verify --config agent.yaml --workload blue --format json",
    ],
  },
  {
    name: "clean",
    summary: "take away what a crashed agent left behind",
    description: [
      "Removes pins, programs, rules, routes, addresses, cgroups and sockets of Shunt. Refuses while the agent runs.",
    ],
    options: [
      value("--name", "NAME", "scope of the agent (default)", { parse: parse.scopeName }),
      toggle("--all", "every scope, and what `exec` and `probe` left behind"),
      json,
    ],
    arguments: [],
    examples: ["shunt clean", "shunt clean --all --json"],
  },
  BENCH,
  {
    name: "istio-iptables",
    summary: "make Istio's sidecar rules, in the place of Istio's command of that name",
    description: [
      "Flags, short flags, variables, defaults and rules are those of Istio's `istio-iptables`; docs/istio-compatibility.md has them all, and every departure. Flags beat variables, which have a flag's name in upper case with _ for -.",
      "Ends with 1 when something is wrong, a flag included, and 126 when the validation fails.",
    ],
    options: ISTIO_OPTIONS,
    arguments: [],
    examples: [
      "shunt istio-iptables -p 15001 -z 15006 -u 1337 -m REDIRECT -i '*' -x '' -b '*' -d 15090,15021,15020",
      "shunt istio-iptables -b '*' -i '*' --dry-run",
      "shunt istio-iptables --cleanup-only",
    ],
  },
  {
    name: "completion",
    summary: "print the completion script of a shell",
    description: [],
    options: [],
    arguments: [{ metavar: "SHELL", description: "bash, zsh or fish", required: true, choices: SHELLS }],
    examples: [
      "source <(shunt completion bash)",
      'shunt completion zsh > "${fpath[1]}/_shunt"',
      "shunt completion fish > ~/.config/fish/completions/shunt.fish",
    ],
  },
];
