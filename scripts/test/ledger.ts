// SPDX-License-Identifier: Apache-2.0

/** One thing that `npm test` ran or decided not to run. */
export interface LedgerEntry {
  readonly title: string;
  readonly state: "passed" | "failed" | "skipped";
  /** Why it was skipped: the missing kernel feature, program or folder. */
  readonly reason?: string;
}

/**
 * A whole group that is skipped says why in its own title: "in fish (skipped without the program fish)", "Envoy
 * (skipped: pip (of Python) is missing)". "" when it does not; the innermost group's reason of several.
 */
export function reasonInTitle(title: string): string {
  const start = title.lastIndexOf("(skipped");
  const rest = /^\(skipped(?::\s*|\s+)(.*)$/s.exec(start < 0 ? "" : title.slice(start))?.[1] ?? "";
  let open = 1;
  for (let at = 0; at < rest.length; at++) {
    if (rest[at] === "(") open++;
    else if (rest[at] === ")" && --open === 0) return rest.slice(0, at).trim();
  }
  return "";
}

/** A skip that does not say what is missing is a failure: nobody could do anything about it. */
export function judge(entry: LedgerEntry): LedgerEntry {
  if (entry.state !== "skipped" || (entry.reason ?? "").trim() !== "") return entry;
  return { title: `${entry.title}: skipped without a reason`, state: "failed" };
}

/** The list of skips and failures, then the one line that scripts rely on. */
export function formatLedger(entries: readonly LedgerEntry[]): string {
  const count = (state: LedgerEntry["state"]) => entries.filter((entry) => entry.state === state).length;
  const lines: string[] = [];
  const skipped = entries.filter((entry) => entry.state === "skipped");
  const failed = entries.filter((entry) => entry.state === "failed");
  if (skipped.length > 0) lines.push("Skipped:", ...skipped.map((entry) => `  ${entry.title}: ${entry.reason ?? ""}`));
  if (failed.length > 0) lines.push("Failed:", ...failed.map((entry) => `  ${entry.title}`));
  lines.push(`${count("passed")} passed, ${count("failed")} failed, ${count("skipped")} skipped`);
  return `${lines.join("\n")}\n`;
}

/** Nothing run is no success. */
export function exitCodeOf(entries: readonly LedgerEntry[]): number {
  const ran = entries.some((entry) => entry.state === "passed");
  return ran && entries.every((entry) => entry.state !== "failed") ? 0 : 1;
}
