// SPDX-License-Identifier: Apache-2.0
/**
 * One traffic matrix through every back-end: real packets of real users in namespaces. Every cell is what the decision in
 * TypeScript says, or a difference that is listed with its reason.
 *
 * By itself the settings are a pair-wise selection: all of it by eBPF, a third of it and every value in each other column,
 * the thirds all of it; SHUNT_MODES=all is all of it in every column. SHUNT_MATRIX=full adds every value by itself and as
 * many combinations by chance as SHUNT_MATRIX_RANDOM says; with UPDATE_GOLDEN=1 it writes the table of docs/rules.md.
 */
import { afterAll, describe, it } from "vitest";
import { expectCommittedPart } from "../support/committed-file.ts";
import { patienceMs } from "../support/inbox.ts";
import { COLUMNS, type Column, missingFor } from "../support/matrix/columns.ts";
import { DIFFERENCES, listedDifference, problemOf, refusalOf } from "../support/matrix/differences.ts";
import { type Cell, MatrixRun } from "../support/matrix/run.ts";
import { oneAtATime, pairwise, random, type Setting, setting, thirdOf } from "../support/matrix/settings.ts";
import { Slots } from "../support/matrix/slots.ts";
import { countTable, differenceList, matrixTable, provenance } from "../support/matrix/table.ts";
import { ALL_MODES } from "../support/modes.ts";

const FULL = process.env["SHUNT_MATRIX"] === "full";
const single = FULL ? oneAtATime() : [];
const combined = FULL ? [...pairwise(), ...random(Number(process.env["SHUNT_MATRIX_RANDOM"] ?? "40"))] : pairwise();
const settings = [...single, ...combined.filter(({ title }) => !single.some((one) => one.title === title))];

/** What is asked in a column. */
function settingsOf(column: Column): readonly Setting[] {
  const index = COLUMNS.indexOf(column);
  return FULL || ALL_MODES || index === 0 ? settings : thirdOf(settings, index);
}

describe("the traffic matrix", () => {
  const results = new Map<Column, readonly Cell[]>();

  afterAll(() => {
    if (results.size > 0) process.stdout.write(`\n${summary(results)}\n`);
  });

  // A column waits for other programs most of the time; two of them keep two cores busy.
  const slots = new Slots(2);

  describe.concurrent.each(COLUMNS)("of $title", (column) => {
    it("is as decided, but for what is listed", {
      timeout: patienceMs(FULL ? 3_600_000 : 600_000),
    }, async ({ expect, skip }) => {
      const missing = await missingFor(column);
      skip(missing !== undefined, missing);
      const { cells, problems } = await slots.run(() => fill(column));
      results.set(column, cells);
      problems.push(...cells.flatMap((cell) => problemOf(column.mode, cell) ?? []));
      expect(problems).toEqual([]);
    });
  });

  // The selection has not every row of the table, so only the full matrix can be held against it.
  it.for(FULL ? ["docs/rules.md"] : [])("is the one of %s", (document, { skip }) => {
    skip(results.size < COLUMNS.length, "not every back-end can be had here");
    const inOrder = COLUMNS.map((column) => [column, results.get(column) ?? []] as const);
    const shown = new Map(inOrder.map(([column, cells]) => [column, cells.filter((c) => single.includes(c.setting))]));
    if (process.env["UPDATE_GOLDEN"] === "1") expectCommittedPart(document, "matrix run", provenance());
    expectCommittedPart(document, "matrix", `${matrixTable(shown)}\n\n${differenceList(shown)}`);
  });
});

/** All settings of a column one after another, each a live change of the one before. */
async function fill(column: Column): Promise<{ cells: readonly Cell[]; problems: string[] }> {
  const [first = setting({}), ...others] = settingsOf(column);
  await using run = await MatrixRun.start(column, first);
  const problems: string[] = [];
  const silent = (cell: Cell): boolean => {
    const index = listedDifference(column.mode, cell);
    return index !== undefined && DIFFERENCES[index]?.silent === true;
  };
  await run.askAll(first, silent);
  for (const next of others) {
    problems.push(...(await change(run, column, next)));
    await run.askAll(next, silent);
  }
  return { cells: await run.finish(), problems };
}

/** What a back-end refuses is done without, so that the rest of the setting is seen all the same. */
async function change(run: MatrixRun, { mode }: Column, next: Setting): Promise<string[]> {
  const said = await run.apply(next);
  const refusal = refusalOf(mode, next);
  if (!refusal) return said === undefined ? [] : [`${next.title}: ${said}`];
  if (said === undefined) return [`${next.title} is not refused`];
  if (!refusal.says.test(said)) return [`${next.title}: ${said}`];
  const { [refusal.dimension]: _refused, ...rest } = next.values;
  const again = await run.apply(setting(rest));
  return again === undefined ? [] : [`${next.title} without ${refusal.dimension}: ${again}`];
}

function summary(results: ReadonlyMap<Column, readonly Cell[]>): string {
  const lines = [...results].map(([{ title, mode }, cells]) => {
    const different = cells.filter((cell) => cell.observed !== cell.expected);
    const listed = different.filter((cell) => listedDifference(mode, cell) !== undefined);
    return `${title}: ${cells.length} cells, ${listed.length} listed differences, ${different.length - listed.length} others`;
  });
  return `${FULL ? matrixTable(results) : countTable(results)}\n\n${lines.join("\n")}`;
}
