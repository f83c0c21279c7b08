// SPDX-License-Identifier: Apache-2.0
/** Reads and changes our rules in one namespace, both families as one step. */
import { existsSync } from "node:fs";
import { ExecError } from "../../util/exec.ts";
import { findCgroup2 } from "../../util/mountinfo.ts";
import { toCgroupDirectory } from "./cgroup-path.ts";
import { IptablesError } from "./iptables-error.ts";
import type { Family } from "./rule.ts";
import { type OwnRules, parseSave, withoutDeadCgroups } from "./rule-state.ts";
import { execIn, type FamilyTools, restore, save, type Tools } from "./tools.ts";
import { renderTransition } from "./transition.ts";

/** What one flavour holds in a namespace. */
export interface FlavourRules {
  readonly tools: Tools;
  /** True when anybody has a rule there, not only we. */
  readonly inUse: boolean;
  readonly families: ReadonlyMap<Family, { readonly tools: FamilyTools; readonly own: OwnRules }>;
}

/**
 * Reads every flavour and family that can be read: a kernel without nf_tables, or without IPv6, has none of
 * that. Throws when nothing can be read.
 */
export async function readNamespace(
  netnsPath: string,
  installed: readonly Tools[],
  signal?: AbortSignal,
): Promise<FlavourRules[]> {
  const answers = await Promise.allSettled(installed.map((tools) => readFlavour(netnsPath, tools, signal)));
  signal?.throwIfAborted();
  const found = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
  const failures = answers.flatMap((answer) => (answer.status === "rejected" ? [answer.reason as unknown] : []));
  const inconclusive = failures.find((reason) => !isRefusal(reason));
  if (inconclusive !== undefined) throw inconclusive;
  if (found.length === 0 && failures.length > 0) throw failures[0];
  return found;
}

async function readFlavour(netnsPath: string, tools: Tools, signal?: AbortSignal): Promise<FlavourRules> {
  const v4 = await save({ netnsPath }, tools[4], signal);
  const v6 = tools[6] && (await saveIfPossible(netnsPath, tools[6], signal));
  const families = new Map([[4 as Family, { tools: tools[4], own: parseSave(v4) }]]);
  if (tools[6] && v6 !== undefined) families.set(6, { tools: tools[6], own: parseSave(v6) });
  return { tools, inUse: /^-A /m.test(`${v4}\n${v6 ?? ""}`), families };
}

async function saveIfPossible(
  netnsPath: string,
  tools: FamilyTools,
  signal?: AbortSignal,
): Promise<string | undefined> {
  try {
    return await save({ netnsPath }, tools, signal);
  } catch (error) {
    if (signal?.aborted || !isRefusal(error)) throw error;
    return undefined;
  }
}

/**
 * The program ran and said no: the kernel has nothing of the kind, so nothing of ours can be in it. One that took too
 * long or was killed has said nothing, and what may be there must not be taken for absent.
 */
function isRefusal(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof ExecError && cause.status !== undefined;
}

/** True when an interface of the namespace has an IPv6 address: "::1" on lo counts, because traffic can leave by it. */
export async function hasIpv6(netnsPath: string, signal?: AbortSignal): Promise<boolean> {
  try {
    return (await execIn({ netnsPath }, "cat", ["/proc/net/if_inet6"], { signal })).stdout.trim() !== "";
  } catch (error) {
    // No such file: the kernel runs with ipv6.disable=1. Anything else is no answer.
    if (error instanceof ExecError && error.stderr.includes("No such file")) return false;
    throw new IptablesError("ERR_IPTABLES_APPLY", `network namespace ${netnsPath} can't be examined for IPv6`, {
      cause: error,
    });
  }
}

/** What our rules of one family become, from what they were when they were read. */
export type Change = (own: OwnRules, family: Family) => OwnRules;

/**
 * Brings every family of the flavour through `steps`, one step after another in all families, or to none of them: when
 * something is refused, what was done is put back as it was and the refusal is thrown. Whether anything was to change.
 */
export async function changeRules(
  netnsPath: string,
  flavour: FlavourRules,
  steps: readonly Change[],
  signal?: AbortSignal,
): Promise<boolean> {
  const exists = cgroupExists();
  const where = { netnsPath };
  const touched = new Map<Family, { readonly tools: FamilyTools; readonly before: OwnRules }>();
  const current = new Map([...flavour.families].map(([family, { own }]) => [family, own]));
  try {
    const inOrder = steps.flatMap((step) => [...flavour.families].map(([family, held]) => ({ step, family, ...held })));
    for (const { step, family, tools, own } of inOrder) {
      const next = step(withoutDeadCgroups(own, exists), family);
      const text = renderTransition(current.get(family) ?? own, next);
      if (text === "") continue;
      // Noted before the attempt: of its tables some may be done when one is refused.
      touched.set(family, { tools, before: own });
      await restore(where, tools, text, signal);
      current.set(family, next);
    }
    return touched.size > 0;
  } catch (error) {
    const failures: unknown[] = [];
    for (const { tools, before } of [...touched.values()].reverse()) {
      // Without the caller's signal: an abort must not leave half of the rules.
      try {
        const now = parseSave(await save(where, tools));
        await restore(where, tools, renderTransition(now, withoutDeadCgroups(before, exists)));
      } catch (failure) {
        failures.push(failure);
      }
    }
    if (failures.length === 0) throw error;
    throw new IptablesError(
      "ERR_IPTABLES_APPLY",
      `${String(error)}; and the rules before could not be put back: ${failures.map(String).join("; ")}`,
      { cause: error },
    );
  }
}

function cgroupExists(): (matchPath: string) => boolean {
  const mount = findCgroup2();
  return (matchPath) => {
    const directory = mount && toCgroupDirectory(matchPath, mount);
    // Outside of what our mount shows nothing can be said; the rule stays.
    return directory === undefined || existsSync(directory);
  };
}
