// SPDX-License-Identifier: Apache-2.0
/** Pod annotations of a mesh, read into the fields of a workload as a configuration file writes them. */
import { closestName } from "../../util/closest-name.ts";
import type { RawTraffic } from "../schema/config.ts";
import { mergeTraffic } from "./merge-traffic.ts";

export interface Annotation {
  /** What a value may be, for the message of one that is not: "a list of ports". */
  readonly allowed: string;
  /** Undefined for a value that is not allowed. */
  readonly read: (value: string) => RawTraffic | undefined;
}

export interface AnnotationTable {
  readonly known: Readonly<Record<string, Annotation>>;
  /** Names that begin so are all the mesh's traffic settings: one that is not known is a mistake, not another tool's. */
  readonly prefixes: readonly string[];
  /** Looks once more at all that was read: where one annotation changes what another means. */
  readonly finish?: (traffic: RawTraffic) => RawTraffic;
}

export interface AnnotationProblem {
  readonly name: string;
  readonly message: string;
}

export interface ReadAnnotations {
  readonly traffic: RawTraffic;
  readonly problems: readonly AnnotationProblem[];
}

/** Annotations of others are left alone, as a pod carries many. */
export function readAnnotations(
  table: AnnotationTable,
  annotations: Readonly<Record<string, string>>,
): ReadAnnotations {
  const problems: AnnotationProblem[] = [];
  let traffic: RawTraffic = {};
  for (const [name, value] of Object.entries(annotations)) {
    const annotation = Object.hasOwn(table.known, name) ? table.known[name] : undefined;
    if (annotation === undefined) {
      if (table.prefixes.some((prefix) => name.startsWith(prefix)))
        problems.push({ name, message: unknown(name, table) });
      continue;
    }
    const read = annotation.read(value.trim());
    if (read === undefined) problems.push({ name, message: `${JSON.stringify(value)} is not ${annotation.allowed}` });
    else traffic = mergeTraffic(traffic, read);
  }
  return { traffic: table.finish ? table.finish(traffic) : traffic, problems };
}

function unknown(name: string, table: AnnotationTable): string {
  const near = closestName(name, Object.keys(table.known));
  return `unknown annotation${near === undefined ? "" : `, did you mean ${near}?`}`;
}
