// SPDX-License-Identifier: Apache-2.0
/** One agent in the lab of the matrix; every type of traffic under one setting after another. */
import { toInterceptSpec } from "../../../src/agent/intercept-spec.ts";
import type { StatusReport } from "../../../src/config/formats/status.ts";
import { checkAgentConfig, valueOf } from "../../../src/config/parse.ts";
import type { InterceptSpec } from "../../../src/intercept/spec.ts";
import { patienceMs } from "../inbox.ts";
import { LabProcess, LabProcesses, python, sidecar } from "../lab-process.ts";
import { ShuntAgent } from "../shunt.ts";
import { MatrixAsker } from "./asker.ts";
import { type Column, leaveRule } from "./columns.ts";
import { type Asked, expected, wouldEnter } from "./expectation.ts";
import { MatrixLab, type Place } from "./lab.ts";
import { type Evidence, observed, type Seen } from "./observation.ts";
import { MACHINE, NEIGHBOUR, OUTSIDE, PODS, type PodName, podAddress } from "./places.ts";
import type { Setting } from "./settings.ts";
import { type AskedFamily, TRAFFIC, type Traffic } from "./traffic.ts";

/** One cell: what should have come of a question, and what did. */
export interface Cell {
  readonly traffic: Traffic;
  readonly family: AskedFamily;
  readonly setting: Setting;
  readonly expected: string;
  readonly observed: string;
  /** The inbound policy captures it, were it for the pod. */
  readonly enters: boolean;
}

type Pending = Omit<Seen, "evidence"> & Pick<Cell, "setting" | "expected" | "enters">;

const SIDECAR_ID = { uid: 1337, gid: 1337 };
/** Tried patiently where an answer is expected, and where not, no longer than a SYN takes to be sent twice. */
const ANSWER_MS = 20_000;
const SILENCE_MS = 1_500;
/** The first of the ports that questions come from, outside of what the kernel gives by itself. */
const FIRST_PORT = 10_000;

export class MatrixRun implements AsyncDisposable {
  readonly #lab = new MatrixLab();
  readonly #column: Column;
  readonly #processes = new LabProcesses();
  readonly #askers = new Map<Place, MatrixAsker>();
  #sidecar: LabProcess | undefined;
  #agent: ShuntAgent | undefined;
  #nextPort = FIRST_PORT;
  readonly #seen: Pending[] = [];

  private constructor(column: Column) {
    this.#column = column;
  }

  static async start(column: Column, setting: Setting): Promise<MatrixRun> {
    const run = new MatrixRun(column);
    try {
      await run.#start(setting);
      return run;
    } catch (error) {
      await run[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Changes the running agent. Gives what it says where it, or a workload, stays as it was. */
  async apply(setting: Setting): Promise<string | undefined> {
    const from = this.#running.logged.length;
    const { msg, ...told } = await this.#running.reconfigure(this.#file(setting));
    if (msg !== "configuration applied") return `${msg}: ${JSON.stringify(told)}`;
    const failed = this.#running.logged.slice(from).find((line) => line["level"] === "error");
    return failed && JSON.stringify(failed["err"] ?? failed);
  }

  /** Asks all questions at once. `silent`: there will be no answer, and none is long waited for. */
  async askAll(setting: Setting, silent: (cell: Cell) => boolean): Promise<void> {
    const asked = TRAFFIC.flatMap((traffic) =>
      traffic.families.map((family) => ({ traffic, family, address: addressOf(traffic, family) })),
    );
    const specs = this.#specsOf(this.#file(setting));
    const pending = asked.map(async (one): Promise<Pending> => {
      const spec = specs.get(one.traffic.pod);
      if (!spec) throw new Error(`${one.traffic.pod} is not in the configuration`);
      const cell = { ...one, setting, expected: expected(spec, one), observed: "", enters: wouldEnter(spec, one) };
      return { ...cell, ...(await this.#ask(one, silent(cell))) };
    });
    this.#seen.push(...(await Promise.all(pending)));
  }

  /** Ends the proxies, after which they have told all they know, and judges by that. */
  async finish(): Promise<Cell[]> {
    await this.#running.stop();
    await this.#sidecar?.[Symbol.asyncDispose]();
    const evidence = new Map<number, Evidence>([...this.#records(), ...this.#lines()]);
    return this.#seen.map((seen) => {
      const { traffic, family, setting, expected: should, enters, sourcePort } = seen;
      const one = sourcePort === undefined ? undefined : evidence.get(sourcePort);
      return { traffic, family, setting, expected: should, enters, observed: observed({ ...seen, evidence: one }) };
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent?.[Symbol.asyncDispose]();
    for (const asker of this.#askers.values()) await asker[Symbol.asyncDispose]();
    await this.#processes[Symbol.asyncDispose]();
    this.#lab[Symbol.dispose]();
  }

  get #running(): ShuntAgent {
    if (!this.#agent) throw new Error("the agent has not started");
    return this.#agent;
  }

  async #start(setting: Setting): Promise<void> {
    const lab = this.#lab;
    const start = (place: Place, argv: readonly string[]): Promise<LabProcess> =>
      this.#processes.start(argv, lab.path(place));
    const outside = Object.values(OUTSIDE).flatMap(({ v4, v6 }) => [v4, v6]);
    const ports = (flag: string, numbers: readonly number[]): string[] => numbers.flatMap((n) => [flag, String(n)]);
    const tcp = ports("--tcp", [80, 8080, 9042, 15012]);
    await start("outside", python("matrix_server.py", ...tcp, "--udp", "8125", "--dns", "--raw", ...outside));
    await start("outside", python("matrix_server.py", "--tcp", "80", `${NEIGHBOUR}%own`));
    await start("machine", python("matrix_server.py", "--tcp", "80", MACHINE.v4, MACHINE.v6));
    for (const pod of PODS) {
      const podTcp = ports("--tcp", [80, 8080, 15008, 15020, 15090]);
      const addresses = [podAddress(pod, "v4"), podAddress(pod, "v6")];
      await start(pod, python("matrix_server.py", ...podTcp, "--udp", "8125", "--raw", ...addresses));
      await start(pod, python("matrix_server.py", "--tcp", "80", "--dns", "127.0.0.1", "::1"));
      if (this.#column.flavour !== undefined) leaveRule(lab.path(pod), this.#column.flavour);
    }
    for (const place of ["outside", "machine", ...PODS] as const) {
      this.#askers.set(place, await MatrixAsker.start(lab.path(place)));
    }
    const services = {
      [OUTSIDE.service.v4]: podAddress("sidecar", "v4"),
      [OUTSIDE.service.v6]: podAddress("sidecar", "v6"),
    };
    this.#sidecar = await start("sidecar", [...sidecar(services, SIDECAR_ID), "--tell-clients"]);
    const ended = await LabProcess.start(sidecar({}, SIDECAR_ID), lab.path("ended"));
    try {
      this.#agent = await ShuntAgent.start(this.#file(setting));
      await this.#sidecarsAre(["sidecar", "ended"]);
    } finally {
      await ended[Symbol.asyncDispose]();
    }
    await this.#sidecarsAre(["sidecar"]);
  }

  /** Waits until the agent sees the inbound listeners of these pods' proxies, and of no others. */
  async #sidecarsAre(names: readonly PodName[]): Promise<void> {
    const deadline = performance.now() + patienceMs(20_000);
    for (;;) {
      const { workloads } = await this.#running.ask<StatusReport>("status");
      const there = workloads.filter(({ listeners }) => listeners.filter(isInbound).length === 2);
      const external = there.map(({ name }) => name).filter((name) => name !== "own");
      if (external.sort().join() === [...names].sort().join()) return;
      if (performance.now() > deadline) throw new Error(`sidecars of ${external.join()}, not of ${names.join()}`);
    }
  }

  #file({ fields }: Setting): Record<string, unknown> {
    const workloads = PODS.map((pod) => ({
      name: pod,
      netns: this.#lab.path(pod),
      ...fieldsFor(pod, fields),
      ...(pod === "own" ? {} : { proxy: { external: true } }),
    }));
    return { mode: this.#column.mode, workloads };
  }

  #specsOf(file: Record<string, unknown>): Map<string, InterceptSpec> {
    // In a mode that takes every setting: what one refuses is judged by what the others do.
    const config = valueOf(checkAgentConfig({ ...file, mode: "iptables" }, () => ({ where: "matrix" })));
    const specs = config.workloads.map((workload): [string, InterceptSpec] => {
      const { name, outbound, inbound } = workload;
      const facts = {
        outboundPort: outbound.port,
        inboundPort: inbound.port,
        dnsPort: outbound.dns.port,
        moreDnsPorts: [],
        resolvers: [OUTSIDE.resolver.v4, OUTSIDE.resolver.v6],
      };
      return [name, toInterceptSpec(workload, { kind: "netns", path: this.#lab.path(name as PodName) }, facts)];
    });
    return new Map(specs);
  }

  async #ask(asked: Asked, silent: boolean): Promise<Pick<Seen, "source" | "sourcePort" | "answer">> {
    const { traffic, family, address } = asked;
    const { from, port, who, transport } = traffic;
    const asker = this.#askers.get(from);
    if (!asker) throw new Error(`nobody asks from ${from}`);
    const sourcePort = transport === "icmp" || transport === "sctp" ? undefined : this.#nextPort++;
    const source = traffic.source?.[family === "v6" ? "v6" : "v4"];
    const answer = await asker.ask({
      transport,
      address,
      port,
      ...who,
      ...(source === undefined ? {} : { source }),
      ...(sourcePort === undefined ? {} : { sourcePort }),
      timeoutMs: silent ? SILENCE_MS : patienceMs(ANSWER_MS),
    });
    return { source, sourcePort, answer };
  }

  #records(): (readonly [number, Evidence])[] {
    return this.#running.records().flatMap(({ workload, source, direction, originalDestination }) => {
      if (workload !== "own" || direction === "dns") return [];
      const original = (originalDestination ?? "nobody").replace(/^\[?(.*?)\]?:(\d+)$/, "$1 $2");
      return [[Number(source.replace(/.*:/, "")), { direction, original }]];
    });
  }

  #lines(): (readonly [number, Evidence])[] {
    const lines = (this.#sidecar?.lines ?? []).map((line) => line.split(" "));
    return lines.map(([direction, address = "", port = "", client]) => [
      Number(client),
      { direction: direction === "inbound" ? "inbound" : "outbound", original: `${address} ${port}` },
    ]);
  }
}

function isInbound({ direction }: { readonly direction: string }): boolean {
  return direction === "inbound";
}

/** Interfaces and DNS are those of the pod that has them; the pods without a proxy are about the fail mode. */
function fieldsFor(pod: PodName, fields: Setting["fields"]): Setting["fields"] {
  const { interfaces: _interfaces, ...others } = fields;
  if (pod === "own") return fields;
  if (pod === "sidecar") return withoutDns(others);
  const { failMode } = fields;
  return failMode === undefined ? {} : { failMode };
}

function withoutDns(fields: Setting["fields"]): Setting["fields"] {
  const outbound = fields["outbound"];
  if (typeof outbound !== "object" || outbound === null || !("dns" in outbound)) return fields;
  const { dns: _dns, ...others } = outbound;
  return { ...fields, outbound: others };
}

function addressOf(traffic: Traffic, family: AskedFamily): string {
  return family === "mapped" ? `::ffff:${traffic.to.v4}` : traffic.to[family];
}
