// SPDX-License-Identifier: Apache-2.0
// Formats all C and C++ in place, with the binary that `npm run check` compares with.
import { spawnSync } from "node:child_process";
import { root } from "./setup/stamp.mjs";
import { cFiles, clangFormat } from "./test/check-steps.ts";

const program = clangFormat();
if (program === undefined) process.stderr.write(`the npm package clang-format has no binary for ${process.arch}\n`);
else process.exitCode = spawnSync(program, ["-i", ...cFiles()], { cwd: root, stdio: "inherit" }).status ?? 1;
