// SPDX-License-Identifier: Apache-2.0
/** What else is in a namespace beside what a workload should have there: told always, removed when asked. */
import type { LeftoverReport, RulesBackendName } from "../../config/formats/rules.ts";
import { BACKENDS } from "../../intercept/backends.ts";
import { iptablesBackend } from "../../intercept/iptables/backend.ts";
import type { InterceptSpec } from "../../intercept/spec.ts";
import { netnsPathOf } from "./netns-path.ts";

export interface LeftoverQuestion {
  readonly spec: InterceptSpec;
  /** Where the workload is meant to be. */
  readonly backend: RulesBackendName;
  /** Its rules are in Istio's form. */
  readonly istioChains: boolean;
  readonly signal: AbortSignal;
}

/** The two have their rules in one place. */
const IN_IPTABLES: readonly RulesBackendName[] = ["iptables", "tproxy"];

export async function findLeftovers(question: LeftoverQuestion): Promise<LeftoverReport[]> {
  const path = netnsPathOf(question.spec);
  const found = await iptablesBackend.leftovers(path, await options(question));
  const rules = found.filter(counts(question)).map((leftover) => ({ ...leftoverOf(leftover), removed: false }));
  return [...rules, ...(await otherBackends(question)).map((name) => backendReport(question.spec, name, false))];
}

export async function removeLeftovers(question: LeftoverQuestion): Promise<LeftoverReport[]> {
  const path = netnsPathOf(question.spec);
  const removed = await iptablesBackend.removeLeftovers(path, counts(question), await options(question));
  const others = await otherBackends(question);
  for (const name of others) await BACKENDS[name].remove(path, question.spec.name, question.signal);
  return [
    ...removed.map((leftover) => ({ ...leftoverOf(leftover), removed: true })),
    ...others.map((name) => backendReport(question.spec, name, true)),
  ];
}

/** Those of other interceptors alone, where what is ours belongs to an agent that runs. */
export async function foreignLeftovers(
  spec: InterceptSpec,
  remove: boolean,
  signal: AbortSignal,
): Promise<LeftoverReport[]> {
  const path = netnsPathOf(spec);
  const isForeign = ({ who }: { readonly who: string }): boolean => who !== "shunt";
  const found = remove
    ? await iptablesBackend.removeLeftovers(path, isForeign, { signal })
    : (await iptablesBackend.leftovers(path, { signal })).filter(isForeign);
  return found.map((leftover) => ({ ...leftoverOf(leftover), removed: remove }));
}

/** In Istio's form, Istio's chains and ours can't be told apart: they are the workload's. */
function counts({ istioChains }: LeftoverQuestion): (leftover: { readonly who: string }) => boolean {
  return ({ who }) => !istioChains || who !== "istio";
}

async function options({ spec, backend, istioChains, signal }: LeftoverQuestion) {
  const names = await iptablesBackend.findOurs(netnsPathOf(spec), signal);
  const ownRules = IN_IPTABLES.includes(backend) && !istioChains;
  return { live: names.filter((name) => ownRules || name !== spec.name), signal };
}

/** Rules of iptables are found by what they look like; the other back-ends know the workload by name. */
async function otherBackends({ spec, backend, signal }: LeftoverQuestion): Promise<RulesBackendName[]> {
  const found: RulesBackendName[] = [];
  for (const name of ["nftables", "ebpf"] as const) {
    if (name === backend) continue;
    if ((await BACKENDS[name].findOurs(netnsPathOf(spec), signal)).includes(spec.name)) found.push(name);
  }
  return found;
}

function leftoverOf({ who, what, kind, where }: Omit<LeftoverReport, "removed">): Omit<LeftoverReport, "removed"> {
  return { who, what, kind, where };
}

function backendReport(spec: InterceptSpec, name: RulesBackendName, removed: boolean): LeftoverReport {
  const what = `workload ${spec.name} in force by ${name} too`;
  return { who: "shunt", kind: "back-end", what, where: `shunt rules verify --backend ${name}`, removed };
}
