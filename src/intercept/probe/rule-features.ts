// SPDX-License-Identifier: Apache-2.0
/** Rules, each tried in a network namespace of its own with a connection that they must redirect. */
import { EventEmitter, once } from "node:events";
import type { Socket } from "node:net";
import { loadAddon } from "../../native/load-addon.ts";
import { check } from "../../native/status.ts";
import { ExecError, run } from "../../util/exec.ts";
import { ShuntError } from "../../util/shunt-error.ts";
import { toCgroupMatchPath } from "../iptables/cgroup-path.ts";
import { type FamilyTools, installedTools, type Tools } from "../iptables/tools.ts";
import { nftablesBackend } from "../nftables/backend.ts";
import { LOOPBACK } from "./exercise.ts";
import type { FeatureName, FeatureResult } from "./features.ts";
import { attempt, patienceMs, refused } from "./outcome.ts";
import type { ScratchCgroup } from "./scratch-cgroup.ts";
import { lacksIpv6, ScratchNetns } from "./scratch-netns.ts";

/** Any port nobody listens on in a fresh namespace. */
const DEAD_PORT = 9;
/** Seconds to wait for /run/xtables.lock, which all legacy iptables of the machine share. */
const LOCK_WAIT_SECONDS = "3";

export async function probeRuleFeatures(cgroup: ScratchCgroup | undefined): Promise<Map<FeatureName, FeatureResult>> {
  const tools = await installedTools();
  const nft = tools.find(({ flavour }) => flavour === "nft");
  const legacy = tools.find(({ flavour }) => flavour === "legacy");
  const results = new Map<FeatureName, FeatureResult>([
    ["iptables-nft", await redirects(nft?.[4], 4, "iptables-nft-restore")],
    ["ip6tables-nft", await redirects(nft?.[6], 6, "ip6tables-nft-restore")],
    ["iptables-legacy", await redirects(legacy?.[4], 4, "iptables-legacy-restore")],
    ["ip6tables-legacy", await redirects(legacy?.[6], 6, "ip6tables-legacy-restore")],
    ["nftables", await attempt(redirectByNft)],
    ["nft-cgroup", await attempt(matchCgroupByNft)],
  ]);
  results.set("xt-cgroup", await anyFlavour(tools, (family) => matchCgroup(family, cgroup)));
  results.set("tproxy", await anyFlavour(tools, (family) => transparent(family)));
  return results;
}

async function redirects(tools: FamilyTools | undefined, family: 4 | 6, program: string): Promise<FeatureResult> {
  return tools === undefined
    ? refused(`program ${program} not found`)
    : attempt(() => redirectByIptables(tools, family));
}

/** The first flavour that can do it is enough; of refusals, the first is told. */
async function anyFlavour(
  tools: readonly Tools[],
  action: (family: FamilyTools) => Promise<void>,
): Promise<FeatureResult> {
  let first: FeatureResult | undefined;
  for (const flavour of tools) {
    const result = await attempt(() => action(flavour[4]));
    if (result.ok) return result;
    first ??= result;
  }
  return first ?? refused("program iptables-restore not found");
}

async function redirectByIptables(tools: FamilyTools, family: 4 | 6): Promise<void> {
  await redirected(family, (netns, port) =>
    restore(netns, tools, [
      "*nat",
      "-A OUTPUT -p tcp -m owner --uid-owner 1337 -j RETURN",
      "-A OUTPUT -p tcp -m owner --gid-owner 1337 -j RETURN",
      "-A OUTPUT -p tcp -m mark --mark 0x539/0xfff -j RETURN",
      // What plans have besides; a kernel may lack any of them.
      '-A OUTPUT -p tcp -m multiport --sports 1,2 -m comment --comment "shunt" -j RETURN',
      "-A OUTPUT -m conntrack --ctstate DNAT -j RETURN",
      "-A PREROUTING -m addrtype ! --dst-type LOCAL -j RETURN",
      `-A OUTPUT -p tcp -j REDIRECT --to-ports ${port}`,
      `-A PREROUTING -p tcp -j REDIRECT --to-ports ${port}`,
      "COMMIT",
    ]),
  );
}

async function redirectByNft(): Promise<void> {
  await redirected(4, (netns, port) =>
    inside(
      netns,
      "nft",
      ["-f", "-"],
      [
        "table inet shunt_probe {",
        "  chain output {",
        "    type nat hook output priority -100;",
        "    meta skuid 1337 return",
        "    meta mark & 0xfff == 0x539 return",
        `    meta l4proto tcp redirect to :${port}`,
        "  }",
        "  chain prerouting {",
        "    type nat hook prerouting priority -100;",
        `    meta l4proto tcp redirect to :${port}`,
        "  }",
        "}",
      ],
    ),
  );
  // Kernels may lack a part that only some rules need, such as named counters (CONFIG_NFT_OBJREF).
  const { ok, reason } = await nftablesBackend.probe();
  if (!ok) throw new ShuntError("ERR_PROBE_RULES", reason ?? "not possible");
}

/** Rules in force: a connection to a dead port comes to the listener, which learns the port from conntrack. */
async function redirected(family: 4 | 6, apply: (netns: ScratchNetns, port: number) => Promise<void>): Promise<void> {
  using netns = new ScratchNetns();
  const address = LOOPBACK[family];
  let meant: number | undefined;
  const accepted = new EventEmitter();
  try {
    const { port } = await netns.serve(address, (socket) => {
      meant = originalPort(socket, family);
      accepted.emit("connection");
    });
    await apply(netns, port);
  } catch (error) {
    if (!lacksIpv6(error)) throw error;
    throw new ShuntError("ERR_PROBE_IPV6", "this machine has no IPv6", { cause: error });
  }
  const arrival = once(accepted, "connection", { signal: AbortSignal.timeout(patienceMs(1000)) });
  await Promise.all([netns.connect(address, DEAD_PORT), arrival]);
  if (meant === DEAD_PORT) return;
  throw new ShuntError("ERR_PROBE_RULES", `SO_ORIGINAL_DST tells port ${meant ?? "nothing"}, not ${DEAD_PORT}`);
}

/** Where an accepted connection was going before the rules; undefined when conntrack does not know. */
function originalPort(socket: Socket, family: 4 | 6): number | undefined {
  const { fd } = (socket as unknown as { readonly _handle: { readonly fd: number } })._handle;
  const found = loadAddon().originalDestination(fd, family);
  return typeof found === "number" ? undefined : found.port;
}

async function matchCgroup(tools: FamilyTools, cgroup: ScratchCgroup | undefined): Promise<void> {
  if (cgroup === undefined) throw new ShuntError("ERR_PROBE_CGROUP", "there is no cgroup to match");
  const path = toCgroupMatchPath(cgroup.path, cgroup.mount);
  using netns = new ScratchNetns();
  await restore(netns, tools, [
    "*nat",
    `-A OUTPUT -p tcp -m cgroup --path "${path}" -j REDIRECT --to-ports 15001`,
    "COMMIT",
  ]);
}

async function matchCgroupByNft(): Promise<void> {
  const { cgroupMatch } = await nftablesBackend.probe();
  if (!cgroupMatch.ok) throw new ShuntError("ERR_PROBE_RULES", cgroupMatch.reason ?? "not possible");
}

async function transparent(tools: FamilyTools): Promise<void> {
  using netns = new ScratchNetns();
  await restore(netns, tools, [
    "*mangle",
    "-A PREROUTING -p tcp -m socket --transparent -j MARK --set-mark 0x539",
    "-A PREROUTING -p tcp -j TPROXY --on-port 15006 --on-ip 127.0.0.1 --tproxy-mark 0x539/0xffffffff",
    "COMMIT",
  ]);
  const addon = loadAddon();
  const options = { address: "127.0.0.1", port: 15006, type: "stream", netns: netns.fd, transparent: true } as const;
  addon.closeFd(check(addon.listen(options), "setsockopt(IP_TRANSPARENT)"));
}

function restore(netns: ScratchNetns, tools: FamilyTools, rules: readonly string[]): Promise<void> {
  return inside(netns, tools.restore, ["-w", LOCK_WAIT_SECONDS], rules);
}

async function inside(
  netns: ScratchNetns,
  program: string,
  args: readonly string[],
  lines: readonly string[],
): Promise<void> {
  try {
    await run("nsenter", [`--net=${netns.path}`, "--", program, ...args], {
      stdin: `${lines.join("\n")}\n`,
      timeoutMs: patienceMs(4000),
    });
  } catch (error) {
    // nsenter itself says 127 when it cannot find the program.
    if (error instanceof ExecError && error.status === 127) {
      throw new ShuntError("ERR_PROBE_RULES", `program ${program} not found`, { cause: error });
    }
    const line = error instanceof ExecError ? lastLine(error.stderr) : "";
    if (line === "") throw error;
    throw new ShuntError("ERR_PROBE_RULES", `${program}: ${line}`, { cause: error });
  }
}

/** "iptables-restore v1.8.9 (nf_tables): …" tail, or nft's first line, of which the others only point at the place. */
function lastLine(stderr: string): string {
  const lines = stderr.split("\n").map((line) => line.trim());
  const telling = lines.filter((line) => line !== "" && !/^(Try |\^|[~^ ]+$)/.test(line));
  return telling.find((line) => /^Error:|\bError:/.test(line)) ?? telling.at(-1) ?? "";
}
