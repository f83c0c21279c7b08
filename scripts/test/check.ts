// SPDX-License-Identifier: Apache-2.0
import { runCheck, staticSteps, unitStep } from "./check-steps.ts";
import { exitCodeOf, formatLedger, type LedgerEntry } from "./ledger.ts";

const entries: LedgerEntry[] = [];
for (const step of [...staticSteps(), unitStep]) entries.push(await runCheck(step));
process.stdout.write(formatLedger(entries));
process.exitCode = exitCodeOf(entries);
