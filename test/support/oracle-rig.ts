// SPDX-License-Identifier: Apache-2.0
/** Where the oracle's two ends are, with an agent in their way twice: out of the client's and into the server's. */
import { type Acceleration, accelerationFields, missingAcceleration } from "./acceleration.ts";
import { ip, NetLab } from "./net-lab.ts";
import { type OracleClientSettings, type OracleRun, OracleServer, runOracle } from "./oracle.ts";
import { type AgentFile, ShuntAgent } from "./shunt.ts";

export const TOPOLOGIES = ["two namespaces", "loopback"] as const;
export type Topology = (typeof TOPOLOGIES)[number];

/** First of the oracle's eight ports. */
export const ORACLE_PORT = 9000;
/** The two that get urgent data: no redirected byte may be urgent, so a configuration leaves them out. */
export const URGENT_PORTS = [ORACLE_PORT + 6, ORACLE_PORT + 7];

const [CLIENT_ADDRESS, SERVER_ADDRESS] = ["198.18.0.1", "198.18.0.2"];

export class OracleRig implements AsyncDisposable {
  readonly #lab: NetLab;
  readonly #topology: Topology;
  readonly #acceleration: Acceleration;
  #agent: ShuntAgent | undefined;

  private constructor(topology: Topology, acceleration: Acceleration) {
    this.#topology = topology;
    this.#acceleration = acceleration;
    this.#lab = new NetLab("oracle");
  }

  /** `accelerated`: of the configuration's `acceleration`. */
  static async start(
    topology: Topology,
    acceleration: Acceleration,
    accelerated: Record<string, unknown> = {},
    env: Readonly<Record<string, string>> = {},
  ): Promise<OracleRig> {
    const rig = new OracleRig(topology, acceleration);
    try {
      if (topology === "loopback") addLoopbackAddresses(rig.clientNetns);
      rig.#agent = await ShuntAgent.start(rig.agentFile(accelerated), { env });
      return rig;
    } catch (error) {
      await rig[Symbol.asyncDispose]();
      throw error;
    }
  }

  get agent(): ShuntAgent {
    if (!this.#agent) throw new Error("the agent has not started");
    return this.#agent;
  }

  get clientNetns(): string {
    return this.#lab.client.path;
  }

  get serverNetns(): string {
    return this.#topology === "loopback" ? this.#lab.client.path : this.#lab.server.path;
  }

  get address(): string {
    return this.#topology === "loopback" ? SERVER_ADDRESS : this.#lab.server.v4;
  }

  agentFile(accelerated: Record<string, unknown> = {}): AgentFile {
    const { client, server } = this.#lab;
    const workloads =
      this.#topology === "loopback"
        ? [{ name: "both", netns: client.path, outbound: { captureLocal: true } }]
        : [
            { name: "client", netns: client.path },
            { name: "server", netns: server.path },
          ];
    const acceleration = accelerationFields(this.#acceleration, { excludePorts: URGENT_PORTS, ...accelerated });
    return { mode: "ebpf", logLevel: "info", ...acceleration, workloads };
  }

  /** Why the agent only copies although it was asked to do more. */
  missing(): Promise<string | undefined> {
    return missingAcceleration(this.agent, this.#acceleration);
  }

  server(settings: { readonly program?: OracleClientSettings["program"]; readonly flags?: readonly string[] } = {}) {
    return OracleServer.start(this.address, {
      netns: this.serverNetns,
      port: ORACLE_PORT,
      ...(settings.program === undefined ? {} : { program: settings.program }),
      ...(settings.flags === undefined ? {} : { flags: settings.flags }),
    });
  }

  /** A run of the oracle to its end. */
  async run(flags: readonly string[], program?: OracleClientSettings["program"]): Promise<OracleRun> {
    const settings = program === undefined ? {} : { program };
    await using server = await this.server(settings);
    return await runOracle(server, { netns: this.clientNetns, flags, deadlineMs: 86_400_000, ...settings });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent?.[Symbol.asyncDispose]();
    this.#lab[Symbol.dispose]();
  }
}

/** Whoever connects to one of them comes from the other: what comes from the address it goes to is nobody's inbound. */
function addLoopbackAddresses(netns: string): void {
  const inside = (...args: string[]): string => ip("-n", netns.replace("/run/netns/", ""), ...args);
  for (const address of [CLIENT_ADDRESS, SERVER_ADDRESS]) inside("addr", "add", `${address}/32`, "dev", "lo");
  inside("route", "replace", "table", "local", "local", SERVER_ADDRESS, "dev", "lo", "src", CLIENT_ADDRESS);
}
