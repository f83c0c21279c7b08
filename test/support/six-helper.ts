// SPDX-License-Identifier: Apache-2.0
/** Intercepts by eBPF the pods that the peer's packet checker makes, from outside, with the host's cgroup2 and bpffs. */
import { execFile, execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ExternalListeners } from "../../src/agent/external-listeners.ts";
import { addPassthroughAddress } from "../../src/agent/passthrough-address.ts";
import { watchAddresses } from "../../src/agent/watch-addresses.ts";
import { EbpfBackend } from "../../src/intercept/ebpf/backend.ts";
import { groupIds } from "../../src/intercept/istio/group-ids.ts";
import { sidecarToSpec } from "../../src/intercept/istio/to-spec.ts";
import { NetworkNamespace } from "../../src/intercept/network-namespace.ts";
import { createLogger } from "../../src/util/log.ts";
import { type GoConfig, peerSidecar } from "./peer-sidecar.ts";
import { uniqueName } from "./shunt.ts";

const INSTALL_SCRIPT = join(import.meta.dirname, "programs/six_enrol.py");

/** One line of `sixtypes.sh --json`. */
export interface SixCheck {
  readonly ok: boolean;
  readonly type: string;
  readonly label: string;
  readonly expected: string;
  readonly got: string;
}

export interface SixOutcome {
  readonly checks: readonly SixCheck[];
  /** Why there are none. */
  readonly setupFailure?: string;
  /** What the interception left in the kernel. */
  readonly leftovers: readonly string[];
}

export class SixHelper implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), "shunt-test-six-"));
  readonly #backend = new EbpfBackend({ name: uniqueName("six") });

  /** Runs the checks of a case; `only` is a regular expression on their types and labels. */
  async run(folder: string, id: string, config: GoConfig, only?: string): Promise<SixOutcome> {
    const pods: AsyncDisposable[] = [];
    const server = createServer({ allowHalfOpen: true }, (socket) => void this.#serve(socket, config, pods));
    const path = join(this.#folder, "socket");
    server.listen(path);
    await once(server, "listening");
    try {
      const args = ["--case", id, "--json", ...(only === undefined ? [] : ["--only", only]), "--", INSTALL_SCRIPT];
      const output = await new Promise<string>((resolve) => {
        const env = { ...process.env, SHUNT_SIX_SOCKET: path };
        execFile(join(folder, "sixtypes.sh"), args, { env, maxBuffer: 1 << 26 }, (_error, stdout, stderr) =>
          resolve(stdout + stderr),
        );
      });
      for (const pod of pods.splice(0)) await pod[Symbol.asyncDispose]();
      const lines = output.split("\n").filter((line) => line !== "");
      const checks = lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line) as SixCheck);
      const setupFailure = lines.find((line) => line.startsWith("FAIL setup"));
      if (checks.length === 0 && setupFailure === undefined) throw new Error(`${id}: no check ran: ${output}`);
      return { checks, leftovers: this.#leftovers(), ...(setupFailure === undefined ? {} : { setupFailure }) };
    } finally {
      server.close();
    }
  }

  [Symbol.dispose](): void {
    this.#backend.remove();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #serve(socket: Socket, config: GoConfig, pods: AsyncDisposable[]): Promise<void> {
    try {
      let request = "";
      socket.setEncoding("utf8").on("data", (piece: string) => (request += piece));
      await once(socket, "end");
      const { pid, groups } = JSON.parse(request) as { pid: number; groups: string };
      pods.push(await this.#intercept(`/proc/${pid}/ns/net`, config, groups));
      socket.end("intercepted");
    } catch (error) {
      socket.end((error as Error).message);
    }
  }

  async #intercept(path: string, goConfig: GoConfig, groups: string): Promise<AsyncDisposable> {
    const undo: (() => unknown)[] = [];
    const pod = {
      async [Symbol.asyncDispose]() {
        for (const step of undo.splice(0).reverse()) await step();
      },
    };
    const using = <T extends Disposable>(resource: T): T => {
      undo.push(() => resource[Symbol.dispose]());
      return resource;
    };
    try {
      const config = peerSidecar(goConfig);
      const netns = using(new NetworkNamespace(path));
      const target = { kind: "netns", path } as const;
      const spec = sidecarToSpec(config, { name: "six", target, failMode: "deny", groupId: groupIds(groups) });
      const scope = await this.#backend.apply(spec, netns, []);
      undo.push(() => scope.remove());
      if (config.enableIpv6) addPassthroughAddress(netns);
      if (spec.inbound?.preserveMark)
        routeMarked(netns.currentPath, config.inboundTproxyMark, config.inboundTproxyRouteTable);
      using(watchAddresses(netns, (addresses) => scope.setLocalAddresses(addresses)));
      const ports = { outboundPort: config.proxyPort, inboundPort: config.inboundCapturePort };
      using(new ExternalListeners(netns, ports, createLogger({ level: "error", format: "json" }))).watch(scope);
      return pod;
    } catch (error) {
      await pod[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Rows that name a workload or its policy; nothing of the pod may be left when it is gone. */
  #leftovers(): string[] {
    const { instance } = this.#backend;
    if (!instance) return [];
    const maps = ["netns_slots", "cgroup_slots", "ports", "cidrs", "owners", "interfaces", "local_addrs"] as const;
    const rows = maps.flatMap((name) => [...instance.map(name).entries()].map(([key]) => `${name} ${inWords(key)}`));
    return [...rows, ...instance.pins.workloads().map((slot) => `pins of slot ${slot}`)];
  }
}

function inWords(key: unknown): string {
  return JSON.stringify(key, (_name, value: unknown) => (typeof value === "bigint" ? String(value) : value));
}

/** What hands on with the client's address gets its answers back: as `preserveSource` does for a proxy of our own. */
function routeMarked(netns: string, mark: number, table: number): void {
  const inside = (...argv: string[]): unknown => execFileSync("nsenter", [`--net=${netns}`, "--", ...argv]);
  inside("sh", "-c", "echo 1 >/proc/sys/net/ipv4/tcp_fwmark_accept");
  for (const family of ["-4", "-6"]) {
    inside("ip", family, "rule", "add", "fwmark", String(mark), "lookup", String(table));
    inside("ip", family, "route", "add", "local", "default", "dev", "lo", "table", String(table));
  }
}
