// SPDX-License-Identifier: Apache-2.0
import { AccelerationPrograms } from "../accelerate/acceleration-programs.ts";
import type { AccelerationSource } from "../accelerate/acceleration-source.ts";
import type { WorkloadConfig } from "../config/model.ts";
import type { NetworkNamespace } from "../intercept/network-namespace.ts";
import type { Logger } from "../util/log.ts";
import { findCgroup2 } from "../util/mountinfo.ts";
import { ShuntError } from "../util/shunt-error.ts";

export interface AccelerationState {
  /** `idle`: no workload asks for it; `off`: switched off by hand. */
  readonly state: "idle" | "on" | "off" | "unavailable";
  readonly reason: string;
}

/** Acceleration for all workloads of an agent: the programs, loaded when the first workload asks for it. */
export class AgentAcceleration implements Disposable {
  readonly #cgroupRoot: string | undefined;
  readonly #log: Logger;
  #programs: AccelerationPrograms | undefined;
  #problem: string | undefined;

  /** `cgroupRoot`: as EbpfOptions. */
  constructor(cgroupRoot: string | undefined, log: Logger) {
    this.#cgroupRoot = cgroupRoot;
    this.#log = log;
  }

  /** What the workers need for a workload; undefined where its connections are copied. */
  sourceFor(config: WorkloadConfig, netns: NetworkNamespace): AccelerationSource | undefined {
    const { mode, paths, budget, excludePorts } = config.acceleration;
    const wanted = mode === "auto" && paths.includes("direct") && !config.proxy.external;
    // A cgroup shares its namespace with others, whose sockets are nobody's business.
    if (!wanted || config.target.kind === "cgroup") {
      this.forget(netns);
      return undefined;
    }
    try {
      return this.#load().allow({ cookie: netns.cookie(), budget, excludePorts });
    } catch (err) {
      const message = err instanceof Error ? err.message : String(err);
      if (this.#problem !== message) this.#log.warn({ err }, "acceleration is not available: bytes are copied");
      this.#problem = message;
      return undefined;
    }
  }

  /** No connection of the namespace is accelerated from now on. */
  forget(netns: NetworkNamespace): void {
    if (this.#programs) this.#programs.forbid(netns.cookie());
  }

  /** The kill switch. Does nothing before anybody has asked for acceleration. */
  switchOff(off: boolean): void {
    this.#programs?.switchOff(off);
    this.#log.info({ off }, "acceleration switched");
  }

  get state(): AccelerationState {
    if (this.#programs?.isSwitchedOff) return { state: "off", reason: "switched off by hand" };
    if (this.#programs) return { state: "on", reason: "a workload asks for it" };
    if (this.#problem !== undefined) return { state: "unavailable", reason: this.#problem };
    return { state: "idle", reason: "no workload asks for it" };
  }

  [Symbol.dispose](): void {
    this.#programs?.[Symbol.dispose]();
    this.#programs = undefined;
  }

  #load(): AccelerationPrograms {
    if (this.#programs) return this.#programs;
    const cgroupRoot = this.#cgroupRoot ?? findCgroup2()?.mountPoint;
    if (cgroupRoot === undefined) throw new ShuntError("ERR_CGROUP_MISSING", "no cgroup2 file system is mounted");
    this.#programs = new AccelerationPrograms({ cgroupRoot, streamVerdict: true });
    this.#problem = undefined;
    return this.#programs;
  }
}
