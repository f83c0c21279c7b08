// SPDX-License-Identifier: Apache-2.0
import { Agent, type Mode } from "./agent.ts";
import { NamespacePair } from "./namespace-pair.ts";
import type { Processes } from "./processes.ts";
import { Servers } from "./servers.ts";

/** How connections travel: untouched, or through the proxy in one of the modes. */
export type WayName = "direct" | Mode;

/** Two namespaces with servers of their own and, unless connections are left alone, an agent. */
export class Way implements AsyncDisposable {
  readonly name: WayName;
  readonly pair: NamespacePair;
  readonly servers: Servers;
  readonly agent: Agent | undefined;

  private constructor(name: WayName, pair: NamespacePair, servers: Servers, agent: Agent | undefined) {
    this.name = name;
    this.pair = pair;
    this.servers = servers;
    this.agent = agent;
  }

  /** @param id begins the names of everything it makes outside `folder` */
  static async start(processes: Processes, name: WayName, id: string, folder: string): Promise<Way> {
    const made: AsyncDisposable[] = [];
    try {
      const pair = await NamespacePair.make(processes, `${id}-${name}`);
      made.push(pair);
      const servers = await Servers.start(processes, pair);
      made.push(servers);
      const agent = name === "direct" ? undefined : await Agent.start(processes, pair, name, folder);
      return new Way(name, pair, servers, agent);
    } catch (error) {
      for (const thing of made.reverse()) await thing[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agent?.[Symbol.asyncDispose]();
    await this.servers[Symbol.asyncDispose]();
    await this.pair[Symbol.asyncDispose]();
  }
}

/** Several ways, which go together. */
export class Ways implements AsyncDisposable {
  readonly all: Way[] = [];

  of(name: WayName): Way {
    const way = this.all.find((candidate) => candidate.name === name);
    if (way === undefined) throw new RangeError(`way: ${name} was not started`);
    return way;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.all.map((way) => way[Symbol.asyncDispose]()));
  }
}
