// SPDX-License-Identifier: Apache-2.0

import type { SHELLS } from "../command-table.ts";
import { bashCompletion } from "../completion/bash.ts";
import { fishCompletion } from "../completion/fish.ts";
import { zshCompletion } from "../completion/zsh.ts";
import { EXIT } from "../exit-status.ts";
import type { CliIo } from "../io.ts";
import type { Invocation } from "../parse-arguments.ts";

const SCRIPTS: Readonly<Record<(typeof SHELLS)[number], () => string>> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
};

export async function runCompletion(invocation: Invocation, io: CliIo): Promise<number> {
  // The parser lets nothing but the three through.
  const shell = invocation.arguments[0] as keyof typeof SCRIPTS;
  io.stdout.write(SCRIPTS[shell]());
  return EXIT.ok;
}
