// SPDX-License-Identifier: Apache-2.0
import { closeSync, openSync } from "node:fs";
import { LabProcesses, tellServer } from "./lab-process.ts";
import { echoServer } from "./load.ts";
import type { Mode } from "./modes.ts";
import { type LabNode, NetLab } from "./net-lab.ts";
import { fateOf, type Probe, Prober } from "./prober.ts";
import { Pulse } from "./pulse.ts";
import { runCommand, ShuntAgent } from "./shunt.ts";

const ECHO = 7000;
export const TELL = 8080;

export type Fields = Readonly<Record<string, unknown>>;
/** What becomes of new connections, by the family of their addresses. */
export type Fates = Readonly<Record<4 | 6, "proxied" | "direct">>;
export const PROXIED: Fates = { 4: "proxied", 6: "proxied" };
export const DIRECT: Fates = { 4: "direct", 6: "direct" };
export interface Expected {
  readonly out: Fates;
  readonly in: Fates;
}
export const BOTH: Expected = { out: PROXIED, in: PROXIED };
export const NEITHER: Expected = { out: DIRECT, in: DIRECT };
/** A direction that is switched off. */
export const OFF: Fields = { enabled: false };

interface Way {
  readonly prober: Prober;
  readonly to: LabNode;
  readonly key: keyof Expected;
}

interface Parts {
  readonly mode: Mode | "auto";
  readonly lab: NetLab;
  readonly agent: ShuntAgent;
  readonly processes: LabProcesses;
  readonly probers: readonly [Prober, Prober];
  readonly traffic: Fields;
  readonly expected: Expected;
}

/** A workload in a namespace, connections through it in both directions that go on, and new ones all the time. */
export class LiveLab implements AsyncDisposable {
  readonly lab: NetLab;
  readonly agent: ShuntAgent;
  readonly pulses: Pulse[] = [];
  #mode: Mode | "auto";
  #traffic: Fields = {};
  readonly #processes: LabProcesses;
  readonly #fds: readonly [number, number];
  readonly #ways: readonly Way[];
  #expected: Expected;
  #since = Date.now();

  private constructor(parts: Parts) {
    const { mode, lab, agent, processes, probers, traffic, expected } = parts;
    this.#mode = mode;
    this.lab = lab;
    this.agent = agent;
    this.#processes = processes;
    this.#expected = expected;
    this.#traffic = traffic;
    this.#fds = [openSync(lab.client.path, "r"), openSync(lab.server.path, "r")];
    this.#ways = [
      { prober: probers[0], to: lab.server, key: "out" },
      { prober: probers[1], to: lab.client, key: "in" },
    ];
  }

  static async start(mode: Mode | "auto", traffic: Fields, expected: Expected): Promise<LiveLab> {
    const lab = new NetLab("live");
    const processes = new LabProcesses();
    try {
      for (const { path, v4, v6 } of [lab.client, lab.server]) {
        await processes.start(tellServer("node", "::", [TELL]), path);
        for (const address of [v4, v6]) await processes.start(echoServer(address, ECHO), path);
      }
      const agent = await ShuntAgent.start(fileFor(mode, lab, traffic));
      const probe = (from: LabNode, to: LabNode): Promise<Prober> =>
        Prober.start(from.path, TELL, [to.v4, to.v6], { ownPorts: true });
      const probers = [await probe(lab.client, lab.server), await probe(lab.server, lab.client)] as const;
      return new LiveLab({ mode, lab, agent, processes, probers, traffic, expected });
    } catch (error) {
      await processes[Symbol.asyncDispose]();
      lab[Symbol.dispose]();
      throw error;
    }
  }

  /** Four connections, one for each direction and family, that from now on exchange bytes. */
  async hold(title: string): Promise<readonly Pulse[]> {
    const { client, server } = this.lab;
    const held: Pulse[] = [];
    for (const family of ["v4", "v6"] as const) {
      held.push(await Pulse.start(`${title} out ${family}`, server[family], ECHO, this.#fds[0]));
      held.push(await Pulse.start(`${title} in ${family}`, client[family], ECHO, this.#fds[1]));
    }
    this.pulses.push(...held);
    return held;
  }

  /**
   * Changes the workload, and tells what went wrong: every connection that goes on must go on, every new one must have the
   * fate of before, during the change one of the two, after it the one that is expected.
   */
  async change(traffic: Fields, expected: Expected): Promise<string[]> {
    this.#traffic = traffic;
    const before = this.#expected;
    const from = Date.now();
    const { msg, ...told } = await this.agent.reconfigure(fileFor(this.#mode, this.lab, traffic));
    const to = Date.now();
    const problems = msg === "configuration applied" ? [] : [`${msg}: ${JSON.stringify(told)}`];
    for (const { prober, to: node, key } of this.#ways) {
      const addresses = [node.v4, node.v6];
      await prober.until(() => true, to, addresses, 5);
      for (const address of addresses) {
        const family = address.includes(":") ? 6 : 4;
        const [old, now] = [before[key][family], expected[key][family]];
        const check = (when: string, probes: readonly Probe[], ...allowed: readonly string[]): void => {
          const wrong = new Set(fatesOf(probes, address).filter((fate) => !allowed.includes(fate)));
          problems.push(...[...wrong].map((fate) => `${key} ${address} ${when}: ${fate}, not ${allowed.join(" or ")}`));
        };
        check("before", prober.probes(this.#since, from), old);
        check("during", prober.probes(from, to), old, now);
        check("after", prober.probes(to), now);
      }
    }
    this.#expected = expected;
    this.#since = to;
    for (const pulse of this.pulses) await pulse.goesOn();
    return problems;
  }

  /** Has another mode take over, with everything else as it is; see `change`. */
  migrate(mode: Mode | "auto"): Promise<string[]> {
    this.#mode = mode;
    return this.change(this.#traffic, this.#expected);
  }

  /** As `migrate`, and does not wait for what comes of it. */
  writeMode(mode: Mode | "auto"): void {
    this.#mode = mode;
    this.agent.writeConfig(this.file());
  }

  /** The configuration as it is now. */
  file(): Fields {
    return fileFor(this.#mode, this.lab, this.#traffic);
  }

  /** What new connections met until now does not count any more. */
  resume(): void {
    this.#since = Date.now();
  }

  /** What the agent tells to Prometheus. */
  metrics(): Promise<{ readonly stdout: string }> {
    const socket = `/run/shunt/${this.agent.name}/admin.sock`;
    return runCommand(["curl", "-sS", "--unix-socket", socket, "http://shunt/metrics"]);
  }

  /** What a command prints in the workload's namespace. */
  async inside(...argv: readonly string[]): Promise<string> {
    return (await runCommand(argv, { netns: this.lab.client.path })).stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pulse of this.pulses) pulse.destroy();
    for (const { prober } of this.#ways) await prober[Symbol.asyncDispose]();
    await this.agent[Symbol.asyncDispose]();
    await this.#processes[Symbol.asyncDispose]();
    for (const fd of this.#fds) closeSync(fd);
    this.lab[Symbol.dispose]();
  }
}

function fatesOf(probes: readonly Probe[], address: string): string[] {
  return probes.filter(({ target }) => target === address).map(fateOf);
}

function fileFor(mode: Mode | "auto", lab: NetLab, traffic: Fields): Fields {
  return { mode, workloads: [{ name: "app", netns: lab.client.path, failMode: "deny", ...traffic }] };
}
