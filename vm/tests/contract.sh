#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# contract.sh: how far acceleration may go on this kernel, by the self-test's own word (docs/acceleration.md), and why.
node dist/main.js probe --contract --json >/tmp/contract || [ $? = 69 ] || exit 1
node -e '
const { contract } = JSON.parse(require("node:fs").readFileSync("/tmp/contract", "utf8"));
if (contract === undefined) throw new Error("the probe told nothing of the contract");
for (const [name, { verdict, detail = "" }] of Object.entries(contract.behaviours))
  if (verdict !== "ok") console.log(name + ": " + verdict + " " + detail);
if (contract.reason) console.log(contract.reason);
console.log("acceleration: " + contract.acceleration);
'
