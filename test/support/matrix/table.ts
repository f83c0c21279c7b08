// SPDX-License-Identifier: Apache-2.0
/** The results of all columns as tables of the documentation. */
import { execFileSync } from "node:child_process";
import { release } from "node:os";
import type { Column } from "./columns.ts";
import { DIFFERENCES, listedDifference } from "./differences.ts";
import type { Cell } from "./run.ts";
import { TRAFFIC, type Traffic } from "./traffic.ts";

export type Results = ReadonlyMap<Column, readonly Cell[]>;

/** One line for everything of one type that had the same outcomes; settings are named, the commonest outcome is "other". */
export function matrixTable(results: Results): string {
  const columns = [...results.keys()];
  const head = ["type", "traffic", "family", "setting", ...columns.map(({ title }) => title)];
  const rows = TRAFFIC.flatMap((traffic) => rowsOf(traffic, results));
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

/** One line for each type: how many cells were as decided, and how many differ as listed. */
export function countTable(results: Results): string {
  const columns = [...results.keys()];
  const rows = TRAFFIC.map((traffic) => {
    const counts = columns.map((column) => {
      const cells = (results.get(column) ?? []).filter((cell) => cell.traffic === traffic);
      const equal = cells.filter(({ expected, observed }) => expected === observed).length;
      return equal === cells.length ? String(equal) : `${equal} of ${cells.length}`;
    });
    return [traffic.id.padEnd(3), traffic.title.padEnd(38), ...counts.map((count) => count.padEnd(10))];
  });
  const head = ["".padEnd(3), "as decided".padEnd(38), ...columns.map(({ title }) => title.padEnd(10))];
  return [head, ...rows].map((cells) => cells.join("  ")).join("\n");
}

/** Those of the listed differences that the results show, with the numbers that the table has. */
export function differenceList(results: Results): string {
  const shown = new Set<number>();
  for (const [{ mode }, cells] of results) {
    for (const cell of cells) {
      const index = listedDifference(mode, cell);
      if (index !== undefined) shown.add(index);
    }
  }
  return DIFFERENCES.flatMap(({ reason }, index) => (shown.has(index) ? [`${index + 1}. ${reason}`] : [])).join("\n");
}

/** When, and on what, the results came to be. */
export function provenance(): string {
  const version = (program: string, ...args: string[]): string => {
    try {
      return execFileSync(program, args, { encoding: "utf8" }).split("\n")[0]?.trim() ?? "";
    } catch {
      return `no ${program}`;
    }
  };
  const tools = [
    version("iptables-nft", "--version"),
    version("iptables-legacy", "--version"),
    version("nft", "--version"),
  ];
  return `${new Date().toISOString().slice(0, 10)}, Linux ${release()}, Node.js ${process.version}, ${tools.join(", ")}.`;
}

interface Group {
  readonly outcomes: readonly string[];
  readonly settings: string[];
}

function rowsOf(traffic: Traffic, results: Results): string[][] {
  const byFamily = traffic.families.map((family) => ({ family, groups: groupsOf(traffic, family, results) }));
  // Families that had the same outcomes everywhere are one row.
  const same = new Map<string, { families: string[]; groups: readonly Group[] }>();
  for (const { family, groups } of byFamily) {
    const key = JSON.stringify(groups);
    const known = same.get(key);
    if (known) known.families.push(family);
    else same.set(key, { families: [family], groups });
  }
  return [...same.values()].flatMap(({ families, groups }) => {
    const commonest = groups.reduce((most, group) => (group.settings.length > most.settings.length ? group : most));
    const ordered = [commonest, ...groups.filter((group) => group !== commonest)];
    return ordered.map(({ outcomes, settings }) => [
      traffic.id,
      traffic.title,
      families.join(" "),
      settings === commonest.settings ? (groups.length === 1 ? "any" : "other") : settings.join("; "),
      ...outcomes,
    ]);
  });
}

function groupsOf(traffic: Traffic, family: string, results: Results): Group[] {
  const groups = new Map<string, Group>();
  const outcomesBySetting = new Map<string, string[]>();
  for (const [{ mode }, cells] of results) {
    for (const cell of cells) {
      if (cell.traffic !== traffic || cell.family !== family) continue;
      const index = listedDifference(mode, cell);
      const note = index === undefined ? "" : ` [${index + 1}]`;
      const outcomes = outcomesBySetting.get(cell.setting.title) ?? [];
      outcomesBySetting.set(cell.setting.title, [...outcomes, `${cell.observed}${note}`]);
    }
  }
  for (const [title, outcomes] of outcomesBySetting) {
    const key = JSON.stringify(outcomes);
    const known = groups.get(key);
    if (known) known.settings.push(title);
    else groups.set(key, { outcomes, settings: [title] });
  }
  return [...groups.values()];
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}
