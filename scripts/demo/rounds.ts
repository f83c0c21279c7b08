// SPDX-License-Identifier: Apache-2.0

/** Samples of one way, in the order of the rounds. */
export type Samples<Sample> = Map<string, Sample[]>;

/**
 * Measures all ways in every round, each round beginning with another one, so that what the machine does beside hits
 * all of them alike.
 */
export async function interleave<Sample>(
  ways: readonly string[],
  rounds: number,
  measure: (way: string, round: number) => Promise<Sample>,
  onRound: (round: number, samples: ReadonlyMap<string, Sample>) => void,
): Promise<Samples<Sample>> {
  const samples: Samples<Sample> = new Map(ways.map((way) => [way, []]));
  for (let round = 0; round < rounds; round++) {
    const ofRound = new Map<string, Sample>();
    for (let turn = 0; turn < ways.length; turn++) {
      const way = ways[(round + turn) % ways.length] ?? "";
      ofRound.set(way, await measure(way, round));
    }
    for (const [way, sample] of ofRound) samples.get(way)?.push(sample);
    onRound(round, ofRound);
  }
  return samples;
}

/** Middle of the sorted values, the mean of the two middle ones where their number is even; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** Value by base, both of the same round, for every round. */
export function ratios(values: readonly number[], bases: readonly number[]): readonly number[] {
  return values.map((value, round) => value / (bases[round] ?? Number.NaN));
}
