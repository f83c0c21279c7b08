// SPDX-License-Identifier: Apache-2.0
/** Durations as people write them ("250ms", "10s", "1h30m") and as milliseconds. */

const MS_PER_UNIT: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Node's timers hold 31 bits of milliseconds and fire at once beyond (nodejs.org/api/timers.html). */
export const MAX_DURATION_MS = 2_147_483_647;

/** Milliseconds, rounded to a whole one; undefined for anything but numbers with the units h, m, s or ms, or beyond 24 days. */
export function parseDuration(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ms|h|m|s))+$/.test(text)) return undefined;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|h|m|s)/g)) {
    total += Number(amount) * (MS_PER_UNIT[unit ?? ""] ?? Number.NaN);
  }
  const rounded = Math.round(total);
  return rounded <= MAX_DURATION_MS ? rounded : undefined;
}

/** The shortest text of whole units: 5400000 is "1h30m", 250 is "250ms", 0 is "0s". */
export function formatDuration(durationMs: number): string {
  let rest = Math.round(durationMs);
  let text = "";
  for (const unit of ["h", "m", "s", "ms"]) {
    const size = MS_PER_UNIT[unit] ?? 1;
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) text += `${count}${unit}`;
  }
  return text === "" ? "0s" : text;
}
