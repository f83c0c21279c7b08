// SPDX-License-Identifier: Apache-2.0
/** What a workload says of its traffic: its pod's annotations, and over them what is written in the configuration. */
import { type AnnotationProblem, readAnnotations } from "./annotations/annotation.ts";
import { overrideTraffic } from "./annotations/merge-traffic.ts";
import type { Preset } from "./presets/preset.ts";
import { PRESETS, type PresetName } from "./presets.ts";
import type { RawExecWorkload, RawTraffic } from "./schema/config.ts";

export interface EffectiveTraffic {
  readonly preset: Preset;
  readonly traffic: RawTraffic;
  readonly problems: readonly AnnotationProblem[];
}

/** `fallback` is the preset of a workload that names none. */
export function effectiveTraffic(raw: Partial<RawExecWorkload>, fallback: PresetName): EffectiveTraffic {
  const preset = PRESETS[raw.preset ?? fallback];
  const { traffic, problems } = readAnnotations(preset.annotations, raw.annotations ?? {});
  const { outbound, inbound, proxy, interfaces, dropInvalid, failMode, trace } = raw;
  const written: RawTraffic = { outbound, inbound, proxy, interfaces, dropInvalid, failMode, trace };
  return { preset, traffic: overrideTraffic(traffic, written), problems };
}
