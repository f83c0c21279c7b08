// SPDX-License-Identifier: Apache-2.0
/** What is in force for a workload, compared by the handles of the process that put it there; verify.ts has pins alone. */
import { isDeepStrictEqual } from "node:util";
import type { Maps } from "../../bpf/generated/types.ts";
import type { Drift } from "../backend.ts";
import type { EbpfInstance } from "./instance.ts";
import type { PolicySet } from "./policy-set.ts";

/** How long one walk through the maps serves: workloads are verified one after another. */
const WALK_SERVES_MS = 1_000;
const POLICY_MAPS = ["ports", "cidrs", "owners"] as const;

interface Walk {
  readonly at: number;
  /** "map key" → value, by policy. */
  readonly entries: ReadonlyMap<number, ReadonlyMap<string, string>>;
}

const walks = new WeakMap<EbpfInstance, Walk>();

/** Something that is not as it should be, in words. */
export function drift(table: string, chain: string, expected: string | undefined, actual: string | undefined): Drift {
  const kind = actual === undefined ? "missing" : expected === undefined ? "unexpected" : "changed";
  return { table, chain, kind, expected: listed(expected), actual: listed(actual) };
}

/** How one row of a map differs from what it should be. */
export function rowDrift<Name extends keyof Maps>(
  instance: EbpfInstance,
  name: Name,
  key: Maps[Name]["key"],
  expected: Maps[Name]["value"],
): Drift[] {
  const actual = instance.map(name).get(key);
  if (isDeepStrictEqual(actual, expected)) return [];
  return [drift(name, text(key), text(expected), actual === undefined ? undefined : text(actual))];
}

/** How the entries of a policy differ from its plan; those of interfaces are kept up by themselves. */
export function policyDrift(instance: EbpfInstance, policy: PolicySet): Drift[] {
  const expected = new Map(policy.entries().map(([map, key, value]) => [`${map} ${text(key)}`, text(value)]));
  const actual = walk(instance, policy.writtenAt).entries.get(policy.number) ?? new Map<string, string>();
  const names = new Set([...expected.keys(), ...actual.keys()]);
  return [...names].flatMap((name) => {
    const [want, have] = [expected.get(name), actual.get(name)];
    const [map = "", key = ""] = name.split(/ (.*)/s);
    return want === have ? [] : [drift(map, key, want, have)];
  });
}

/** Takes away what a policy's numbers should not have. */
export function deleteSurplus(instance: EbpfInstance, policy: PolicySet): void {
  const expected = new Set(policy.entries().map(([map, key]) => `${map} ${text(key)}`));
  for (const name of POLICY_MAPS) {
    const map = instance.map(name);
    for (const [key] of [...map.entries()]) {
      if (key.policy === policy.number && !isOfInterfaces(key) && !expected.has(`${name} ${text(key)}`))
        map.delete(key);
    }
  }
  walks.delete(instance);
}

function walk(instance: EbpfInstance, notBefore: number): Walk {
  const known = walks.get(instance);
  const now = Date.now();
  if (known && known.at > notBefore && now - known.at < WALK_SERVES_MS) return known;
  const entries = new Map<number, Map<string, string>>();
  for (const name of POLICY_MAPS) {
    for (const [key, value] of instance.map(name).entries()) {
      if (isOfInterfaces(key)) continue;
      const own = entries.get(key.policy) ?? new Map<string, string>();
      entries.set(key.policy, own.set(`${name} ${text(key)}`, text(value)));
    }
  }
  const fresh = { at: now, entries };
  walks.set(instance, fresh);
  return fresh;
}

function isOfInterfaces(key: object): boolean {
  return "kind" in key && key.kind === "interface-route";
}

/** The same for equal values, whatever the order of their fields. */
function text(value: unknown): string {
  if (typeof value !== "object" || value === null) return String(value);
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return fields.map(([name, field]) => `${name}=${text(field)}`).join(" ");
}

function listed(one: string | undefined): readonly string[] {
  return one === undefined ? [] : [one];
}
