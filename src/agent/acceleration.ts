// SPDX-License-Identifier: Apache-2.0
import { AccelerationPrograms, type Hindrances, type PolicyHindrances } from "../accelerate/acceleration-programs.ts";
import { type AccelerationSource, FLOW_PATHS } from "../accelerate/acceleration-source.ts";
import { type Contract, obstaclesOf, wantsStreamVerdict } from "../accelerate/contract/verdict.ts";
import type { Policy } from "../accelerate/policies/policy.ts";
import { SplicePrograms } from "../accelerate/splice-programs.ts";
import type { SpliceSource } from "../accelerate/splice-source.ts";
import type { WorkloadConfig } from "../config/model.ts";
import type { NetworkNamespace } from "../intercept/network-namespace.ts";
import type { Logger } from "../util/log.ts";
import { findCgroup2 } from "../util/mountinfo.ts";
import { ShuntError } from "../util/shunt-error.ts";
import { runContract } from "./acceleration-contract.ts";
import { type PolicyObserver, PolicyWatch } from "./policy-watch.ts";

const WATCH_INTERVAL_MS = 1_000;

/** What redirection between sockets of applications and proxies may be used for; undefined: for nothing. */
const PERMITTED: Readonly<Record<Contract["acceleration"], Hindrances | undefined>> = {
  on: { "direct-inside": "none", "direct-across": "none", leg: "none", "leg-back": "none" },
  asymmetric: { "direct-inside": "contract", "direct-across": "contract", leg: "none", "leg-back": "contract" },
  "splice-only": undefined,
  off: undefined,
};

/** Where sockets of proxies may be spliced to each other. */
const MAY_SPLICE: ReadonlySet<Contract["acceleration"]> = new Set(["on", "splice-only"]);

export interface AccelerationState {
  /** `idle`: no workload asks for it; `testing`: the kernel's contract is being tried; `off`: switched off by hand. */
  readonly state: "idle" | "testing" | "on" | "off" | "unavailable";
  readonly reason: string;
}

/**
 * Acceleration for all workloads of an agent. The programs are loaded when the first workload asks for it, and stay
 * switched off until this kernel has shown what it can be trusted with.
 */
export class AgentAcceleration implements Disposable {
  readonly #cgroupRoot: string | undefined;
  readonly #log: Logger;
  readonly #ending = new AbortController();
  #programs: AccelerationPrograms | undefined;
  #splices: SplicePrograms | undefined;
  #cannotSplice = false;
  readonly #restricted = new Map<bigint, PolicyHindrances>();
  #trying = false;
  #policies: PolicyWatch | undefined;
  #cgroup2: string | undefined;
  #problem: string | undefined;
  #contract: Contract | undefined;
  /** A workload wants it whatever the contract says. */
  #trusted = false;
  #offByHand = false;
  #watch: NodeJS.Timeout | undefined;
  #withdrawals = 0;

  /** `cgroupRoot`: as EbpfOptions. */
  constructor(cgroupRoot: string | undefined, log: Logger) {
    this.#cgroupRoot = cgroupRoot;
    this.#log = log;
  }

  /** What the workers need for a workload; undefined where its connections are copied. */
  sourceFor(config: WorkloadConfig, netns: NetworkNamespace): AccelerationSource | undefined {
    const { mode, paths, budget, excludePorts, contract, bypassPolicies } = config.acceleration;
    const flowPaths = FLOW_PATHS.filter((path) => paths.includes(path));
    const wanted = mode === "auto" && flowPaths.length > 0 && !config.proxy.external;
    // A cgroup shares its namespace with others, whose sockets are nobody's business.
    if (!wanted || config.target.kind === "cgroup") {
      this.#programs?.forbid(netns.cookie());
      return undefined;
    }
    try {
      const programs = this.#load();
      const asymmetric = contract === "asymmetric";
      const cgroupPolicies = bypassPolicies.includes("cgroup-skb") ? undefined : this.#cgroup2;
      this.#watchPolicies().watch(netns, bypassPolicies);
      if (contract === "ignore") this.#trust(config.name);
      return programs.allow({
        cookie: netns.cookie(),
        budget,
        excludePorts,
        paths: flowPaths,
        asymmetric,
        cgroupPolicies,
      });
    } catch (err) {
      const message = err instanceof Error ? err.message : String(err);
      if (this.#problem !== message) this.#log.warn({ err }, "acceleration is not available: bytes are copied");
      this.#problem = message;
      return undefined;
    }
  }

  /** As `sourceFor`, of splicing the proxies' own sockets. */
  spliceFor(config: WorkloadConfig, netns: NetworkNamespace): SpliceSource | undefined {
    const { mode, paths, budget, excludePorts, contract, bypassPolicies } = config.acceleration;
    const wanted = mode === "auto" && paths.includes("splice") && !config.proxy.external;
    if (!wanted || config.target.kind === "cgroup") {
      this.#splices?.forbid(netns.cookie());
      return undefined;
    }
    const splices = this.#loadSplices();
    if (!splices) return undefined;
    this.#watchPolicies().watch(netns, bypassPolicies);
    if (contract === "ignore") this.#trust(config.name);
    return splices.allow({ netns: netns.cookie(), budget, excludePorts });
  }

  /** No connection of the namespace is accelerated from now on. */
  forget(netns: NetworkNamespace): void {
    // Nothing was allowed, and a kernel that takes no program may tell no cookie either (before 5.7).
    if (!this.#programs && !this.#splices) return;
    this.#policies?.forget(netns);
    this.#restricted.delete(netns.cookie());
    if (this.#programs) this.#programs.forbid(netns.cookie());
    if (this.#splices) this.#splices.forbid(netns.cookie());
  }

  /** The kill switch. */
  switchOff(off: boolean): void {
    this.#offByHand = off;
    this.#settle();
    this.#log.info({ off }, "acceleration switched");
  }

  /** What the kernel can be trusted with, once that is known. */
  get contract(): Contract | undefined {
    return this.#contract;
  }

  get state(): AccelerationState {
    if (this.#problem !== undefined) return { state: "unavailable", reason: this.#problem };
    const loaded = [this.#programs, this.#splices].filter((programs) => programs !== undefined);
    if (loaded.length === 0) return { state: "idle", reason: "no workload asks for it" };
    if (this.#offByHand) return { state: "off", reason: "switched off by hand" };
    const broken = this.#contract ? obstaclesOf(this.#contract.behaviours).join(", ") : "";
    if (loaded.some(({ isSwitchedOff }) => !isSwitchedOff)) {
      if (this.#trusted) return { state: "on", reason: "whatever the kernel's contract says" };
      if (this.#contract?.acceleration === "on") return { state: "on", reason: "the kernel can be trusted" };
      const found = this.#contract?.acceleration;
      const way = found === "splice-only" ? "between proxies alone" : "by legs, what applications send";
      return { state: "on", reason: `${way}: the kernel's contract: ${found} (${broken})` };
    }
    if (!this.#contract) return { state: "testing", reason: "what the kernel can be trusted with is being tried" };
    return { state: "unavailable", reason: `the kernel's contract: ${this.#contract.acceleration} (${broken})` };
  }

  /** What packets of a namespace meet, and keeps its connections from going direct. */
  policiesOf(netns: NetworkNamespace): readonly Policy[] {
    return this.#policies?.policiesOf(netns) ?? [];
  }

  /** Programs that nothing is redirected to any more, because they had left it unread while they ran. */
  get withdrawals(): number {
    return this.#withdrawals;
  }

  [Symbol.dispose](): void {
    this.#ending.abort();
    clearInterval(this.#watch);
    this.#policies?.[Symbol.dispose]();
    this.#programs?.[Symbol.dispose]();
    this.#programs = undefined;
    this.#splices?.[Symbol.dispose]();
    this.#splices = undefined;
  }

  #load(): AccelerationPrograms {
    if (this.#programs) return this.#programs;
    this.#cgroup2 = findCgroup2()?.mountPoint;
    const cgroupRoot = this.#cgroupRoot ?? this.#cgroup2;
    if (cgroupRoot === undefined) throw new ShuntError("ERR_CGROUP_MISSING", "no cgroup2 file system is mounted");
    this.#programs = new AccelerationPrograms(cgroupRoot);
    for (const [netns, hindrances] of this.#restricted) this.#programs.restrict(netns, hindrances);
    this.#problem = undefined;
    this.#watch = setInterval(() => this.#watchReaders(), WATCH_INTERVAL_MS).unref();
    this.#startContract();
    return this.#programs;
  }

  /** One for all programs, whichever are loaded first. */
  #watchPolicies(): PolicyWatch {
    const observer: PolicyObserver = {
      restrict: (netns, hindrances) => {
        this.#restricted.set(netns, hindrances);
        this.#programs?.restrict(netns, hindrances);
        this.#splices?.restrict(netns, isRestricted(hindrances));
      },
      withdrawDirect: (why) => this.#programs?.withdrawDirect(why),
    };
    this.#cgroup2 ??= findCgroup2()?.mountPoint;
    this.#policies ??= new PolicyWatch(observer, this.#cgroup2, this.#log);
    return this.#policies;
  }

  #loadSplices(): SplicePrograms | undefined {
    if (this.#splices || this.#cannotSplice) return this.#splices;
    try {
      this.#splices = new SplicePrograms();
      for (const [netns, hindrances] of this.#restricted) this.#splices.restrict(netns, isRestricted(hindrances));
      this.#startContract();
    } catch (err) {
      this.#cannotSplice = true;
      this.#log.warn({ err }, "sockets of proxies cannot be spliced");
    }
    return this.#splices;
  }

  /** Once; what is loaded later finds its result. */
  #startContract(): void {
    if (!this.#trying) void this.#tryContract();
    this.#trying = true;
    this.#settle();
  }

  async #tryContract(): Promise<void> {
    try {
      const contract = await runContract(this.#ending.signal);
      if (this.#ending.signal.aborted) return;
      if (wantsStreamVerdict(contract.behaviours)) this.#programs?.attachStreamVerdict();
      this.#contract = contract;
      this.#settle();
      this.#log.info({ ...this.state, contract: contract.acceleration }, "acceleration");
    } catch (err) {
      if (this.#ending.signal.aborted) return;
      this.#problem = err instanceof Error ? err.message : String(err);
      this.#log.warn({ err }, "the kernel's contract could not be tried: bytes are copied");
    }
  }

  #watchReaders(): void {
    try {
      for (const withdrawn of this.#programs?.watchReaders() ?? []) {
        this.#withdrawals++;
        this.#log.warn({ ...withdrawn }, "a program leaves redirected bytes unread while it runs: it gets no more");
      }
    } catch (err) {
      this.#log.error({ err }, "readers of redirected bytes are not watched");
      clearInterval(this.#watch);
    }
  }

  #trust(workload: string): void {
    if (!this.#trusted) this.#log.warn({ workload }, "acceleration does not wait for the kernel's contract, as told");
    this.#trusted = true;
    this.#settle();
  }

  #settle(): void {
    const found = this.#trusted ? "on" : (this.#contract?.acceleration ?? "off");
    this.#programs?.permit(this.#offByHand ? undefined : PERMITTED[found]);
    this.#splices?.switchOff(this.#offByHand || !MAY_SPLICE.has(found));
  }
}

const isRestricted = ({ inside, across }: PolicyHindrances): boolean => inside !== "none" || across !== "none";
