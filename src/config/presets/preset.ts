// SPDX-License-Identifier: Apache-2.0
import type { AnnotationTable } from "../annotations/annotation.ts";
import type { TrafficConfig } from "../model.ts";

/** What every field of a workload is when a configuration leaves it out. */
export interface Preset {
  readonly summary: string;
  readonly traffic: TrafficConfig;
  /** Inbound ports that stay excluded whatever the configuration lists. */
  readonly alwaysExcludedInbound: readonly number[];
  /** User and group of the mesh's own sidecar: how an external proxy is recognised unless told otherwise. */
  readonly sidecar: { readonly uids: readonly number[]; readonly gids: readonly number[] };
  /** Pod annotations of the mesh; empty where there is none. */
  readonly annotations: AnnotationTable;
}
