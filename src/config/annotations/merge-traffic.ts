// SPDX-License-Identifier: Apache-2.0
import type { RawTraffic } from "../schema/config.ts";

type Section = Readonly<Record<string, unknown>>;

/** Exclusions add up, wherever they come from; of anything else the later one counts. */
const ADDED_UP: ReadonlySet<string> = new Set(["excludePorts", "excludeCidrs"]);

/** Both together; `later` wins field by field. */
export function mergeTraffic(earlier: RawTraffic, later: RawTraffic): RawTraffic {
  return mergeSection(earlier, later, ADDED_UP);
}

/** `written` in the configuration replaces a field as a whole: what somebody wrote there is what they get. */
export function overrideTraffic(annotated: RawTraffic, written: RawTraffic): RawTraffic {
  return mergeSection(annotated, written, new Set());
}

function mergeSection(earlier: Section, later: Section, added: ReadonlySet<string>): Section {
  const result: Record<string, unknown> = { ...earlier };
  for (const [field, value] of Object.entries(later)) {
    const before = result[field];
    if (value === undefined) continue;
    if (isSection(before) && isSection(value)) result[field] = mergeSection(before, value, added);
    else if (added.has(field) && Array.isArray(before) && Array.isArray(value)) result[field] = [...before, ...value];
    else result[field] = value;
  }
  return result;
}

function isSection(value: unknown): value is Section {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
