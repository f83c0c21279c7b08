// SPDX-License-Identifier: Apache-2.0
import { writeFileSync } from "node:fs";
import type { Reporter, TestCase, TestModule } from "vitest/node";
import { type LedgerEntry, reasonInTitle } from "./ledger.ts";

function entryOf(test: TestCase): LedgerEntry {
  const title = `${test.module.relativeModuleId} > ${test.fullName}`;
  const result = test.result();
  if (result.state === "passed") return { title, state: "passed" };
  if (result.state === "skipped") return { title, state: "skipped", reason: result.note ?? reasonInTitle(title) };
  // Pending at the end of the run: the worker died under it.
  return { title, state: "failed" };
}

function entriesOf(module: TestModule): LedgerEntry[] {
  const tests = [...module.children.allTests()].map(entryOf);
  const broken = module.errors().length > 0 || (tests.length === 0 && module.state() !== "passed");
  return broken
    ? [...tests, { title: `${module.relativeModuleId} does not load or clean up`, state: "failed" }]
    : tests;
}

/** The line of the test's own file in a stack. */
function placeOf(stack: string | undefined, test: TestCase): string {
  const file = test.module.relativeModuleId;
  const line = stack?.split("\n").find((text) => text.includes(file));
  return line === undefined ? file : line.slice(line.indexOf(file)).replace(/\)$/, "");
}

/** Writes what vitest ran to the file named by SHUNT_LEDGER. */
export default class LedgerReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly unknown[]): void {
    const entries = modules.flatMap(entriesOf);
    if (unhandled.length > 0) entries.push({ title: `${unhandled.length} unhandled errors`, state: "failed" });
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        if ((test.diagnostic()?.retryCount ?? 0) === 0) continue;
        // vitest itself keeps quiet about why the first one failed when the second did not.
        const [first] = test.result().errors ?? [];
        const why = first === undefined ? "" : `: ${first.message} (${placeOf(first.stack, test)})`;
        process.stdout.write(`needed a second try: ${test.fullName}${why}\n`);
      }
    }
    const path = process.env["SHUNT_LEDGER"];
    if (path !== undefined) writeFileSync(path, JSON.stringify(entries));
  }
}
