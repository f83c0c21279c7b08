// SPDX-License-Identifier: Apache-2.0
import type { OriginalDestinationSource } from "./original-destination.ts";
import type { OwnFlowsSource } from "./own-flows.ts";
import type { RuleFor } from "./rule-for.ts";
import type { InterceptSpec } from "./spec.ts";

export const BACKEND_NAMES = ["ebpf", "iptables", "tproxy", "nftables"] as const;
export type BackendName = (typeof BACKEND_NAMES)[number];
export type Direction = "outbound" | "inbound";
/** Programs whose rules do not see each other's. */
export type RulesName = "iptables" | "nftables";

export interface ProbeAnswer {
  readonly ok: boolean;
  /** Why not. */
  readonly reason?: string;
}

/** A piece of a plan in the words of the program that takes it. */
export interface Rendered {
  /** "IPv4 rules", "policy routing". */
  readonly title: string;
  /** Program and arguments that take `text` on standard input; empty where the kernel is asked directly. */
  readonly command: readonly string[];
  readonly text: string;
}

/** One difference between what should be in force and what is. */
export interface Drift {
  /** Absent where one object serves both families. */
  readonly family?: 4 | 6;
  /** Table, map, or kind of object ("ip rule"). */
  readonly table: string;
  /** Chain, map key, or name of the object. */
  readonly chain: string;
  readonly kind: "missing" | "unexpected" | "changed";
  /** In the words of the program that lists them. */
  readonly expected: readonly string[];
  readonly actual: readonly string[];
}

/** What is in force for one workload after `apply` or `adopt`. */
export interface Applied {
  readonly name: string;
  readonly netnsPath: string;
  readonly warnings: readonly string[];
  /** False when everything was already as planned and nothing was touched. */
  readonly changed: boolean;
}

/**
 * One way to intercept by what the kernel keeps by itself once it is told: a folder of src/intercept exports one. `plan`
 * and `render` are pure; everything else acts on the network namespace of the target. All reject with an error of
 * the back-end's own class and leave the namespace as it was.
 */
export interface Backend<Plan = unknown> {
  readonly name: BackendName;
  /** Whether it works here, by trying; with a path, in that namespace. */
  probe(netnsPath?: string, signal?: AbortSignal): Promise<ProbeAnswer>;
  plan(spec: InterceptSpec): Plan;
  render(plan: Plan): readonly Rendered[];
  /** All or nothing; again changes nothing. */
  apply(spec: InterceptSpec, options?: { readonly signal?: AbortSignal }): Promise<Applied>;
  /** What an earlier process applied, when it is there and equals the plan; undefined otherwise, and nothing is changed. */
  adopt(spec: InterceptSpec, options?: { readonly signal?: AbortSignal }): Promise<Applied | undefined>;
  /** Empty when everything is as planned. */
  verify(spec: InterceptSpec, signal?: AbortSignal): Promise<readonly Drift[]>;
  /** Whether there was anything of that name. */
  remove(netnsPath: string, name: string, signal?: AbortSignal): Promise<boolean>;
  /** Names of the workloads that have something of this back-end in the namespace. */
  findOurs(netnsPath: string, signal?: AbortSignal): Promise<readonly string[]>;
}

/** How often each reason was the answer, per direction; a back-end without counters returns undefined. */
export interface VerdictCounters {
  readonly outbound: Readonly<Record<string, number>>;
  readonly inbound: Readonly<Record<string, number>>;
}

/** A listening socket that takes inbound connections; `index` is the worker's number. The fd stays the caller's. */
export interface InboundListener {
  readonly family: 4 | 6;
  readonly index: number;
  readonly fd: number;
}

/** What established connections lose when the interception they came by goes: what getpeername() says, or all of it. */
export type Dependence = "nothing" | "peer-name" | "translation";

/**
 * One workload's interception in force. Disposing lets go of handles and leaves the traffic as it is; only `remove`
 * gives the host back as it was.
 */
export interface Interception extends Disposable {
  readonly backend: BackendName;
  /** How a worker learns the original destination of a connection of this direction. */
  originalDestination(direction: Direction): OriginalDestinationSource;
  /** Where the proxy notes connections it makes with a client's address; undefined where nothing needs to know. */
  ownFlows(): OwnFlowsSource | undefined;
  /** Replaces the listener of one worker. */
  setInboundListener(listener: InboundListener): void;
  /** The addresses of the namespace have changed. */
  setLocalAddresses(addresses: readonly string[]): void;
  /**
   * Replaces the policy while traffic flows: a connection sees the old one or the new one, never a mixture. `listeners`
   * take inbound connections from then on; none are named when they stay the same. When it rejects, the old policy holds.
   */
  update(spec: InterceptSpec, listeners?: readonly InboundListener[]): Promise<void>;
  counters(): VerdictCounters | undefined;
  /** Asks the kernel for what `counters` tells; absent where that asks by itself. */
  refreshCounters?(): Promise<void>;
  /** What of this interception gives a decision, for `explain`. */
  readonly ruleFor?: RuleFor;
  remove(): Promise<void>;
}

/** What one back-end has in force for one workload. */
export interface InterceptionPart extends Interception {
  /** What is in force. */
  readonly spec: InterceptSpec;
  readonly dependence: Readonly<Record<Direction, Dependence>>;
  /** How the kernel differs from `spec`; empty when it does not. */
  verify(): Promise<readonly Drift[]>;
  /** Brings back what should be in force, under connections that go on. */
  repair(): Promise<void>;
}

/** Of two parts of one workload in the same place, the later takes the place of the earlier. */
export function placeOf(backend: BackendName, workload: string): string {
  if (backend === "ebpf") return "programs";
  return `${rulesOf(backend)} ${workload}`;
}

/** Whose rules a back-end's are; undefined where it has none. */
export function rulesOf(backend: BackendName): RulesName | undefined {
  if (backend === "ebpf") return undefined;
  return backend === "nftables" ? "nftables" : "iptables";
}
