// SPDX-License-Identifier: Apache-2.0
/** The name a mistyped one most likely meant, or undefined where none is near: at most a third of its letters differ. */
export function closestName(mistyped: string, names: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(mistyped.length / 3)) + 1;
  for (const name of names) {
    const distance = editDistance(mistyped.toLowerCase(), name.toLowerCase());
    if (distance < bestDistance) {
      best = name;
      bestDistance = distance;
    }
  }
  return best;
}

/** Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment). */
function editDistance(a: string, b: string): number {
  const width = b.length + 1;
  const cost = new Uint16Array((a.length + 1) * width);
  const at = (i: number, j: number): number => cost[i * width + j] ?? 0;
  for (let i = 0; i <= a.length; i++) {
    for (let j = 0; j <= b.length; j++) {
      cost[i * width + j] = i === 0 || j === 0 ? i + j : cheapestStep(at, a, b, [i, j]);
    }
  }
  return at(a.length, b.length);
}

function cheapestStep(
  at: (i: number, j: number) => number,
  a: string,
  b: string,
  [i, j]: readonly [number, number],
): number {
  const different = a[i - 1] === b[j - 1] ? 0 : 1;
  const step = Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + different);
  const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
  return swapped ? Math.min(step, at(i - 2, j - 2) + 1) : step;
}
