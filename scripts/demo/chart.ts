// SPDX-License-Identifier: Apache-2.0

export interface Bar {
  readonly label: string;
  readonly value: number;
  readonly text: string;
}

const EIGHTHS = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/** Horizontal bars to one scale, the greatest value `width` characters long. */
export function barLines(bars: readonly Bar[], width: number, unicode: boolean): readonly string[] {
  const greatest = Math.max(...bars.map((bar) => bar.value));
  const labelWidth = Math.max(...bars.map((bar) => bar.label.length));
  return bars.map(({ label, value, text }) => {
    const length = greatest > 0 ? (value / greatest) * width : 0;
    return `${label.padEnd(labelWidth)}  ${drawn(length, unicode)} ${text}`;
  });
}

/** At least something for every value, so that a small one is not mistaken for none. */
function drawn(length: number, unicode: boolean): string {
  if (!unicode) return "#".repeat(Math.max(1, Math.round(length)));
  const eighths = Math.max(1, Math.round(length * 8));
  return "█".repeat(Math.floor(eighths / 8)) + (EIGHTHS[eighths % 8] ?? "");
}
