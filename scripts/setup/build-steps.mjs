// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, readdirSync, realpathSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { SetupFailure } from "./failure.mjs";
import { runStep } from "./progress.mjs";
import { root, unlessUpToDate } from "./stamp.mjs";

/** @param {string[]} command */
const versionOf = (...command) =>
  spawnSync(command[0] ?? "", command.slice(1), { encoding: "utf8" }).stdout?.split("\n")[0] ?? "";

/** @param {string} name of a program in node_modules */
const local = (name) => join(root, "node_modules/.bin", name);

export async function installDependencies() {
  const step = {
    name: "npm-ci",
    inputs: ["package-lock.json"],
    facts: [process.platform, process.arch],
    outputs: () => ["node_modules/.package-lock.json", "node_modules/.bin/tsc", "node_modules/.bin/tsx"],
  };
  await unlessUpToDate(step, async () => {
    const npm = process.env["npm_execpath"];
    const command = npm !== undefined && npm.endsWith(".js") ? [process.execPath, npm] : ["npm"];
    // No package needs its install script; leaving them out gives one result with npm 10 and 11.
    await runStep("npm ci", [...command, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: root });
  });
}

export async function buildBpf() {
  const sources = readdirSync(join(root, "bpf")).filter((file) => file.endsWith(".bpf.c"));
  const step = {
    name: "bpf",
    inputs: ["bpf"],
    facts: [versionOf("clang", "--version"), versionOf("pkg-config", "--modversion", "libbpf")],
    outputs: () => sources.map((file) => `bpf/build/${file.replace(/\.c$/, ".o")}`),
  };
  await unlessUpToDate(step, () => runStep("build the BPF objects", ["make", "-C", "bpf", "all"], { cwd: root }));
}

/**
 * Folder whose include/node holds Node's headers: the running Node's own prefix, else the system's.
 * Any version will do, as the addon uses Node-API only. Undefined: node-gyp downloads them.
 */
export function findNodeHeaders() {
  const own = dirname(dirname(realpathSync(process.execPath)));
  return [own, "/usr"].find(
    (prefix) =>
      existsSync(join(prefix, "include/node/node_api.h")) && existsSync(join(prefix, "include/node/common.gypi")),
  );
}

export async function buildAddon() {
  if (!existsSync(join(root, "addon/binding.gyp"))) throw new SetupFailure("addon/binding.gyp is missing");
  const headers = findNodeHeaders();
  const step = {
    name: "addon",
    inputs: ["addon", "node_modules/node-addon-api/package.json"],
    facts: [
      process.arch,
      versionOf("g++", "--version"),
      versionOf("pkg-config", "--modversion", "libbpf"),
      headers ?? "downloaded",
    ],
    outputs: () => ["addon/build/Release/shunt.node", "addon/build/Release/shunt-contract"],
  };
  await unlessUpToDate(step, async () => {
    if (headers === undefined)
      process.stdout.write(
        "Node's headers are neither beside this Node nor in /usr/include/node: node-gyp downloads them\n",
      );
    const gyp = [process.execPath, join(root, "node_modules/node-gyp/bin/node-gyp.js"), "-C", "addon"];
    const from = headers === undefined ? [] : [`--nodedir=${headers}`];
    /** @type {NodeJS.ProcessEnv} */
    const env = { ...process.env, npm_config_jobs: "max" };
    if (headers !== undefined) env["npm_config_nodedir"] = headers;
    await runStep("build the addon", [...gyp, "configure", "build", ...from], { cwd: root, env });
  });
}

/** Removes compiled files whose source is gone, so that a moved file cannot be run by its old name. */
function removeStale() {
  for (const file of readdirSync(join(root, "dist"), { recursive: true, encoding: "utf8" })) {
    const source = /^(.*)\.js(\.map)?$/.exec(file)?.[1];
    if (source !== undefined && !existsSync(join(root, "src", `${source}.ts`))) rmSync(join(root, "dist", file));
  }
}

export async function buildTypeScript() {
  const main = existsSync(join(root, "src/main.ts")) ? ["dist/main.js"] : [];
  const step = { name: "ts", inputs: ["src", "tsconfig.json", "package-lock.json"], outputs: () => ["dist", ...main] };
  await unlessUpToDate(step, async () => {
    await runStep("compile the TypeScript", [local("tsc"), "-p", "."], { cwd: root });
    removeStale();
    // `npx shunt` runs this file by its shebang, and tsc writes no mode.
    for (const file of main) chmodSync(join(root, file), 0o755);
  });
}
