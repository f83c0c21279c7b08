// SPDX-License-Identifier: Apache-2.0

/** What the guest's second serial line says, frame by frame. */
export type Frame =
  | { readonly kind: "begin" }
  | { readonly kind: "output"; readonly line: string }
  | { readonly kind: "exit"; readonly status: number }
  | { readonly kind: "broken"; readonly reason: string };

/**
 * Takes bytes of the line in any pieces and reports frames. Only lines with this run's nonce are
 * frames, so a command that prints "exit 0" is a command that prints "exit 0".
 */
export function frameReader(nonce: string, onFrame: (frame: Frame) => void): (chunk: string) => void {
  const mark = `@@${nonce} `;
  let rest = "";
  let begun = false;
  const take = (line: string): void => {
    // Output without a newline at its end stands before the mark.
    const at = line.indexOf(mark);
    if (begun && at !== 0 && line.slice(0, at < 0 ? undefined : at) !== "")
      onFrame({ kind: "output", line: line.slice(0, at < 0 ? undefined : at) });
    if (at < 0) return;
    const [word = "", ...words] = line.slice(at + mark.length).split(" ");
    if (word === "begin") begun = true;
    if (word === "begin") onFrame({ kind: "begin" });
    if (word === "exit") onFrame({ kind: "exit", status: Number(words[0]) });
    if (word === "broken") onFrame({ kind: "broken", reason: words.join(" ") });
  };
  return (chunk) => {
    const lines = (rest + chunk.replaceAll("\r", "")).split("\n");
    rest = lines.pop() ?? "";
    lines.forEach(take);
  };
}
