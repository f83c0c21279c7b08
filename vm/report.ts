// SPDX-License-Identifier: Apache-2.0
import type { Verdict } from "./cells.ts";
import type { KernelResult } from "./results.ts";

const escapeXml = (text: string): string =>
  // A serial line may carry control characters, which XML 1.0 has no way to write.
  text
    .replaceAll(/[^\t\n\r\u0020-\uFFFD]/g, "?")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll('"', "&quot;");

/** JUnit's XML, one suite a kernel. */
export function formatJunit(results: readonly KernelResult[]): string {
  const suites = results.map(({ name, release, seconds, date, verdicts }) => {
    const of = (state: Verdict["state"]): number => verdicts.filter((verdict) => verdict.state === state).length;
    const cases = verdicts.map((verdict) => {
      const head = `    <testcase classname="kernel ${escapeXml(name)}" name="${escapeXml(verdict.name)}" time="${verdict.seconds}"`;
      if (verdict.state === "passed") return `${head}/>`;
      const tag = verdict.state === "failed" ? "failure" : "skipped";
      return `${head}><${tag} message="${escapeXml(verdict.detail.split("\n").at(-1) ?? "")}">${escapeXml(verdict.detail)}</${tag}></testcase>`;
    });
    const counts = `tests="${verdicts.length}" failures="${of("failed")}" skipped="${of("skipped")}"`;
    return [
      `  <testsuite name="${escapeXml(`${name} (Linux ${release})`)}" ${counts} time="${seconds}" timestamp="${date}">`,
      ...cases,
      "  </testsuite>",
    ].join("\n");
  });
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n${suites.join("\n")}\n</testsuites>\n`;
}

function markOf(verdict: Verdict | undefined): string {
  if (verdict === undefined) return "–";
  if (verdict.state === "failed") return "**FAILED**";
  if (verdict.state === "skipped") return "skipped";
  if (verdict.found !== undefined) return verdict.found;
  if (verdict.present !== undefined) return verdict.present ? "yes" : "no";
  return "ok";
}

/** The table of docs/kernels.md: a column a kernel, then what failed, was skipped or is missing, and why. */
export function formatTable(results: readonly KernelResult[]): string {
  const row = (title: string, of: (result: KernelResult) => string): string =>
    `| ${[title, ...results.map(of)].join(" | ")} |`;
  // In the order of the column that has most.
  const longest = [...results].sort((one, other) => other.verdicts.length - one.verdicts.length);
  const names = [...new Set(longest.flatMap(({ verdicts }) => verdicts.map(({ name }) => name)))];
  const cells = names.filter((name) => !/^(feature|guest) |^(mode|tier|reason)$/.test(name));
  const found = (result: KernelResult, name: string): string =>
    markOf(result.verdicts.find((verdict) => verdict.name === name));
  const lines = [
    row("", ({ name }) => name),
    row("---", () => "---"),
    row("Linux", ({ release }) => release),
    row("mode, tier", ({ mode, tier, verdicts }) => {
      const wrong = verdicts.some(({ name, state }) => ["mode", "tier", "reason"].includes(name) && state === "failed");
      return `${mode}, ${tier ?? "none"}${wrong ? " **UNEXPECTED**" : ""}`;
    }),
    ...cells.map((name) => row(name, (result) => (name === result.mode ? "as auto" : found(result, name)))),
    ...names
      .filter((name) => name.startsWith("feature "))
      .map((name) => row(`\`${name.slice(8)}\``, (result) => found(result, name))),
    row("run", ({ date }) => date.slice(0, 16).replace("T", " ")),
    row("in", ({ accelerator, seconds }) => `${accelerator}, ${Math.round(seconds)} s`),
  ];
  const notes = results.flatMap(({ name, reason, mode, verdicts }) => [
    ...(mode === "ebpf" ? [] : [`- ${name}: ${reason}`]),
    ...verdicts
      .filter(({ state, present }) => state !== "passed" || present === false)
      .map((verdict) => `- ${name}, ${verdict.name.replace(/^feature (.*)$/, "`$1`")}: ${noteOf(verdict)}`),
  ]);
  const tools = new Set(
    results.flatMap(({ tools: used }) => Object.entries(used).map(([name, version]) => `${name} ${version}`)),
  );
  return [...lines, "", ...notes, ...(notes.length > 0 ? [""] : []), `With ${[...tools].join(", ")}.`, ""].join("\n");
}

function noteOf({ state, detail }: Verdict): string {
  const said = state === "failed" ? (detail.trim().split("\n").at(-1) ?? "") : detail;
  return `${state === "failed" ? "FAILED: " : ""}${said.replaceAll("\n", " ").replaceAll("|", "\\|")}`;
}
