// SPDX-License-Identifier: Apache-2.0

/** Value below which `part` of the values are, between the two nearest ones where it falls between; NaN of none. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) * part;
  const low = sorted[Math.floor(place)] ?? Number.NaN;
  const high = sorted[Math.ceil(place)] ?? Number.NaN;
  return low + (high - low) * (place - Math.floor(place));
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Value by base, both of the same round. */
export function perRound(values: readonly number[], bases: readonly number[]): readonly number[] {
  return values.map((value, round) => value / (bases[round] ?? Number.NaN));
}

/** (p75 − p25) / median. */
export function spreadOf(ratios: readonly number[]): number {
  return (quantile(ratios, 0.75) - quantile(ratios, 0.25)) / median(ratios);
}

/** Where the rounds differ by as much as the ratio itself, nothing can be said, however far it is from 1. */
const USELESS_SPREAD = 1;

export interface Judged {
  readonly spread: number;
  /** Median of the ratios; null where it tells nothing. */
  readonly ratio: number | null;
  readonly why?: string;
}

/**
 * A ratio is told when the middle half of the rounds differs from direct by more than it differs in itself. Otherwise
 * it says no more than that no difference was seen.
 */
export function judge(ratios: readonly number[]): Judged {
  const ratio = median(ratios);
  const spread = spreadOf(ratios);
  if (!Number.isFinite(ratio) || !Number.isFinite(spread))
    return { spread: 0, ratio: null, why: "nothing was counted" };
  if (spread > USELESS_SPREAD) return { spread, ratio: null, why: `the rounds differ by ${percent(spread)}` };
  if (spread < Math.abs(ratio - 1) / ratio) return { spread, ratio };
  const why = `differs from direct by ${percent(Math.abs(ratio - 1))}, and the rounds among themselves by ${percent(spread)}`;
  return { spread, ratio: null, why };
}

function percent(part: number): string {
  return `${(part * 100).toFixed(part < 0.1 ? 1 : 0)} %`;
}
