// SPDX-License-Identifier: Apache-2.0
import type { SidecarConfig } from "../../src/intercept/istio/istio-config.ts";
import * as parse from "../../src/intercept/istio/parse-values.ts";
import { sidecarOf } from "./programs/istio-sidecar.mjs";

/** A configuration by Istio's Go field names. */
export type GoConfig = Readonly<Record<string, unknown>>;

export function peerSidecar(config: GoConfig): SidecarConfig {
  return sidecarOf(parse, config);
}
