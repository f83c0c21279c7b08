// SPDX-License-Identifier: Apache-2.0
import { writeFileSync } from "node:fs";
import { BenchError } from "../../bench/bench-error.ts";
import type { BenchOptions } from "../../bench/bench-options.ts";
import { htmlReport } from "../../bench/html-report.ts";
import { textReport } from "../../bench/text-report.ts";
import { causedBy, ShuntError } from "../../util/shunt-error.ts";
import type { Actions } from "../actions.ts";
import { EXIT } from "../exit-status.ts";
import type { CliIo } from "../io.ts";
import type { Invocation } from "../parse-arguments.ts";

/** Status as a shell tells a death by SIGINT. */
const INTERRUPTED = 130;

export async function runBenchCommand({ options }: Invocation, io: CliIo, actions: Actions): Promise<number> {
  const [json, html] = [options.text("--json"), options.text("--html")];
  // A file that cannot be written is known before two minutes have gone by.
  for (const file of [json, html]) if (file !== undefined && file !== "-") writeFile(file, "");
  const only = options.value("--only") as RegExp | undefined;
  const settings: BenchOptions = {
    quick: options.has("--quick"),
    ...(only === undefined ? {} : { only }),
    signal: io.signal,
    onProgress: progressOn(io),
  };
  let report: Awaited<ReturnType<Actions["bench"]>>;
  try {
    report = await actions.bench(settings);
  } catch (error) {
    clearLine(io);
    if (causedBy(error, BenchError)?.code !== "ERR_BENCH_INTERRUPTED") throw error;
    io.stderr.write("shunt bench: interrupted; everything it made is gone again\n");
    return INTERRUPTED;
  }
  clearLine(io);
  const text = `${JSON.stringify(report, null, 2)}\n`;
  if (json === "-") io.stdout.write(text);
  else io.stdout.write(textReport(report, io.stdout.columns ?? 100));
  if (json !== undefined && json !== "-") writeFile(json, text);
  if (html !== undefined) writeFile(html, htmlReport(report));
  return report.failed.length === 0 ? EXIT.ok : EXIT.failure;
}

/** On a terminal one line that the next one replaces; elsewhere nothing but the beginning of rounds. */
function progressOn(io: CliIo): (text: string) => void {
  if (io.stderr.isTTY === true) {
    const width = (io.stderr.columns ?? 80) - 1;
    return (text) => void io.stderr.write(`\r\x1b[K${text.slice(0, width)}`);
  }
  let last = "";
  return (text) => {
    const phase = /^round \d+/.exec(text)?.[0] ?? text;
    if (phase !== last) io.stderr.write(`${phase}\n`);
    last = phase;
  };
}

function clearLine({ stderr }: CliIo): void {
  if (stderr.isTTY === true) stderr.write("\r\x1b[K");
}

function writeFile(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (cause) {
    throw new ShuntError("ERR_BENCH_FILE", `${path} can't be written: ${(cause as Error).message}`, { cause });
  }
}
