// SPDX-License-Identifier: Apache-2.0
/** Columns of text, two spaces apart, each as wide as its widest cell; the last one ends where its text does. */
export function formatTable(headers: readonly string[] | undefined, rows: readonly (readonly string[])[]): string {
  const all = headers === undefined ? rows : [headers, ...rows];
  const widths: number[] = [];
  for (const row of all) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
    });
  }
  return all
    .map(
      (row) =>
        `${row
          .map((cell, i) => cell.padEnd(widths[i] ?? 0))
          .join("  ")
          .trimEnd()}\n`,
    )
    .join("");
}
