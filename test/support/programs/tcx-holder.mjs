// SPDX-License-Identifier: Apache-2.0
// Attaches a pinned program to an interface of its namespace (tcx) for as long as its input is open.
import { createRequire } from "node:module";

const addon = createRequire(import.meta.url)("../../../addon/build/Release/shunt.node");
const TCX_INGRESS = 46;
const [path, name] = process.argv.slice(2);
const program = addon.openPinnedProgram(path);
const { index } = addon.interfaceIndexes(undefined).find((/** @type {{ name: string }} */ one) => one.name === name);
const link = program.link(index, TCX_INGRESS);
if (typeof link === "number") throw new Error(`bpf_link_create: ${link}`);
process.stdout.write("ready\n");
process.stdin.resume().on("end", () => link.close());
