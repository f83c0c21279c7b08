// SPDX-License-Identifier: Apache-2.0
import { appendFileSync } from "node:fs";
import { relative } from "node:path";
import type { Reporter, TestCase, TestModule, TestSpecification } from "vitest/node";
import { root } from "../setup/stamp.mjs";
import { type LedgerEntry, reasonInTitle } from "./ledger.ts";
import type { ProgressLine } from "./progress.ts";

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

/** Appends what vitest runs to the file named by SHUNT_LEDGER, as it happens. */
export default class LedgerReporter implements Reporter {
  readonly #begun = new Map<string, number>();
  readonly #ended = new Set<string>();

  onTestRunStart(specifications: readonly TestSpecification[]): void {
    write({ kind: "files", files: specifications.map(({ moduleId }) => relative(root, moduleId)) });
  }

  onTestModuleQueued({ relativeModuleId: file }: TestModule): void {
    this.#begun.set(file, performance.now());
    write({ kind: "begun", file });
  }

  onTestModuleEnd(module: TestModule): void {
    const file = module.relativeModuleId;
    const seconds = (performance.now() - (this.#begun.get(file) ?? performance.now())) / 1000;
    this.#ended.add(file);
    write({ kind: "ended", file, seconds, entries: entriesOf(module) });
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly unknown[]): void {
    // Whose worker died, or who could not be loaded.
    for (const module of modules) if (!this.#ended.has(module.relativeModuleId)) this.onTestModuleEnd(module);
    if (unhandled.length > 0) write({ kind: "error", title: `${unhandled.length} unhandled errors` });
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        if ((test.diagnostic()?.retryCount ?? 0) === 0) continue;
        // vitest itself keeps quiet about why the first one failed when the second did not.
        const [first] = test.result().errors ?? [];
        const why = first === undefined ? "" : `: ${first.message} (${placeOf(first.stack, test)})`;
        process.stdout.write(`needed a second try: ${test.fullName}${why}\n`);
      }
    }
  }
}

function write(line: ProgressLine): void {
  const path = process.env["SHUNT_LEDGER"];
  if (path !== undefined) appendFileSync(path, `${JSON.stringify(line)}\n`);
}
