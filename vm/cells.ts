// SPDX-License-Identifier: Apache-2.0
/** What the cells of one kernel said, and whether that is what was expected of it. */
import { z } from "zod";
import { features } from "../src/intercept/probe/features.ts";
import type { Expectation } from "./kernel-list.ts";

export interface Cell {
  readonly name: string;
  readonly status: number;
  readonly seconds: number;
  readonly output: string;
}

export interface Verdict {
  readonly name: string;
  readonly state: "passed" | "failed" | "skipped";
  readonly seconds: number;
  /** Of a failure or a skip, or of a feature that is missing as expected. */
  readonly detail: string;
  /** Only of features: whether it is there. */
  readonly present?: boolean;
  /** What the cell found, where "passed" does not say it. */
  readonly found?: string;
}

const probeSchema = z.object({
  mode: z.string(),
  tier: z.string().nullable(),
  reason: z.string(),
  features: z.record(z.string(), z.object({ ok: z.boolean(), reason: z.string().optional() })),
});
export type Probe = z.infer<typeof probeSchema>;

/** vm/tests/run.sh's word for a cell that does not make sense there. */
const SKIP = 77;

/** Takes the lines of run.sh and reports each cell at its beginning and at its end. */
export function cellReader(
  token: string,
  onBegin: (name: string) => void,
  onEnd: (cell: Cell) => void,
): (line: string) => void {
  let lines: string[] = [];
  return (line) => {
    // What a program wrote without a newline stands before the token.
    const at = line.indexOf(`${token} `);
    if (at !== 0) lines.push(at < 0 ? line : line.slice(0, at));
    if (at < 0) return;
    const words = line.slice(at + token.length + 1).split(" ");
    if (words[0] === "begin") {
      lines = [];
      onBegin(words.slice(1).join(" "));
    }
    if (words[0] !== "end") return;
    const [status, seconds] = words.slice(-2).map(Number);
    onEnd({ name: words.slice(1, -2).join(" "), status: status ?? 1, seconds: seconds ?? 0, output: lines.join("\n") });
  };
}

/** The JSON in what the probe's cell printed, or undefined when there is none. */
export function readProbe(cell: Cell | undefined): Probe | undefined {
  const text = cell?.output ?? "";
  const from = text.indexOf("\n{\n");
  if (from < 0) return undefined;
  return probeSchema.parse(JSON.parse(text.slice(from, text.lastIndexOf("\n}") + 2)));
}

/** A cell passes when its script did. */
export function judgeCell({ name, status, seconds, output }: Cell): Verdict {
  const last = output.trim().split("\n").at(-1) ?? "";
  if (status === 0) return { name, state: "passed", seconds, detail: "" };
  return status === SKIP
    ? { name, state: "skipped", seconds, detail: last }
    : { name, state: "failed", seconds, detail: output.split("\n").slice(-40).join("\n") };
}

const verdict = (name: string, right: boolean, detail: string): Verdict => ({
  name,
  state: right ? "passed" : "failed",
  seconds: 0,
  detail: right ? "" : detail,
});

/** The choice against the expectation; an unknown kernel has none, there the traffic of the cells judges. */
export function judgeChoice(probe: Probe, expected: Partial<Expectation>): Verdict[] {
  const { mode, tier, because } = expected;
  const said = `mode ${probe.mode}, tier ${probe.tier ?? "none"}: ${probe.reason}`;
  const verdicts: Verdict[] = [];
  if (mode !== undefined) verdicts.push(verdict("mode", probe.mode === mode, `expected ${mode}; ${said}`));
  if (tier !== undefined) verdicts.push(verdict("tier", probe.tier === tier, `expected ${tier ?? "none"}; ${said}`));
  if (because !== undefined)
    verdicts.push(verdict("reason", probe.reason.includes(`${because} (`), `expected ${because} to be named; ${said}`));
  return verdicts;
}

/** One verdict a feature: the probe's word against the list of what is missing there. */
export function judgeFeatures(probe: Probe, missing: Expectation["missing"] | undefined): Verdict[] {
  return features.map(({ name }) => {
    const result = probe.features[name];
    const present = result?.ok ?? false;
    const why = result === undefined ? "was not tried" : (result.reason ?? "");
    const base = { name: `feature ${name}`, seconds: 0, present };
    if (result === undefined) return { ...base, state: "failed", detail: why };
    if (missing === undefined) return { ...base, state: "passed", detail: why };
    const expected = missing[name];
    if (present && expected !== undefined)
      return { ...base, state: "failed", detail: `works, and was expected to be missing: ${expected}` };
    if (!present && expected === undefined) return { ...base, state: "failed", detail: `does not work: ${why}` };
    return { ...base, state: "passed", detail: why };
  });
}

/** What the probe's cell says the others have to do without: of a kernel in the list as expected or not, else skipped. */
export function judgeReductions(cell: Cell | undefined, missing: Expectation["missing"] | undefined): Verdict[] {
  return [...(cell?.output ?? "").matchAll(/^reduction (\S+) (.*)$/gm)].map(([, name = "", why = ""]) => {
    const state = missing === undefined ? "skipped" : name in missing ? "passed" : "failed";
    return { name: `guest ${name}`, state, seconds: 0, detail: why };
  });
}

/** The contract's verdict stands in its cell's last line. */
export function judgeContract(cell: Cell, expected: string | undefined): Verdict {
  const verdict = judgeCell(cell);
  const found = /^acceleration: (\S+)$/.exec(cell.output.trim().split("\n").at(-1) ?? "")?.[1];
  if (verdict.state !== "passed" || found === undefined) return verdict;
  return expected === undefined || expected === found
    ? { ...verdict, found }
    : { ...verdict, found, state: "failed", detail: `expected ${expected}\n${cell.output.trim()}` };
}

/** Everything about one kernel. */
export function judgeCells(
  cells: readonly Cell[],
  expected: Partial<Expectation>,
): { readonly verdicts: readonly Verdict[]; readonly probe: Probe | undefined } {
  const probe = readProbe(cells.find(({ name }) => name === "probe"));
  const verdicts = cells.map((cell) =>
    cell.name === "contract" ? judgeContract(cell, expected.contract) : judgeCell(cell),
  );
  if (cells.length === 0) verdicts.push({ name: "cells", state: "failed", seconds: 0, detail: "the guest ran none" });
  if (probe === undefined) return { verdicts, probe };
  return {
    verdicts: [
      ...judgeChoice(probe, expected),
      ...judgeReductions(cells[0], expected.missing),
      ...verdicts,
      ...judgeFeatures(probe, expected.missing),
    ],
    probe,
  };
}
