// SPDX-License-Identifier: Apache-2.0
/** A network namespace as a pod's, and `shunt istio-iptables` run in it. */
import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inNetns } from "./iptables-save.ts";
import { ip } from "./net-lab.ts";

const MAIN = join(import.meta.dirname, "../../dist/main.js");

export interface CommandResult {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

export interface RunSettings {
  readonly env?: Readonly<Record<string, string>>;
  /** Words in front of node, such as setpriv with its options. */
  readonly runner?: readonly string[];
  readonly signal?: AbortSignal;
  /** From the host, as istio-cni does it: with --network-namespace. */
  readonly fromOutside?: boolean;
}

export class IstioPod implements Disposable {
  readonly netns: string;
  readonly path: string;
  /** For files of the test; gone with the pod. */
  readonly folder: string;

  constructor(addresses: readonly string[] = ["10.88.0.2/24"], nameservers: readonly string[] = []) {
    this.netns = `shunt-test-${process.pid}-istio-${randomBytes(3).toString("hex")}`;
    this.path = `/run/netns/${this.netns}`;
    this.folder = mkdtempSync(join(tmpdir(), `shunt-test-${process.pid}-istio-`));
    writeFileSync(join(this.folder, "resolv.conf"), nameservers.map((server) => `nameserver ${server}\n`).join(""));
    ip("netns", "add", this.netns);
    try {
      ip("-n", this.netns, "link", "set", "lo", "up");
      ip("-n", this.netns, "link", "add", "eth0", "type", "veth", "peer", "name", "peer0");
      ip("-n", this.netns, "link", "set", "eth0", "up");
      for (const address of addresses) {
        ip("-n", this.netns, "addr", "add", address, "dev", "eth0", ...(address.includes(":") ? ["nodad"] : []));
      }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Runs the built command with the pod's resolv.conf and an xtables lock of its own. */
  run(flags: readonly string[], settings: RunSettings = {}): Promise<CommandResult> {
    const { runner = [], env = {}, signal, fromOutside = false } = settings;
    const script = 'mount --bind "$1" "$(readlink -f /etc/resolv.conf)"; shift; exec "$@"';
    const sandbox = ["unshare", "--mount", "--", "sh", "-c", script, "sh", join(this.folder, "resolv.conf")];
    const enter = fromOutside ? [] : ["nsenter", `--net=${this.path}`, "--"];
    const where = fromOutside ? ["--network-namespace", this.path] : [];
    const command = [...enter, ...sandbox, ...runner, process.execPath, MAIN, "istio-iptables", ...where, ...flags];
    const child = spawn(command[0] ?? "", command.slice(1), {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, XTABLES_LOCKFILE: join(this.folder, "lock"), ...env },
      ...(signal !== undefined && { signal, killSignal: "SIGTERM" as const }),
    });
    let out = "";
    let err = "";
    child.stdout.on("data", (data: Buffer) => (out += data.toString()));
    child.stderr.on("data", (data: Buffer) => (err += data.toString()));
    return new Promise((resolve, reject) => {
      child.on("error", (error) => (error.name === "AbortError" ? undefined : reject(error)));
      child.on("close", (status, by) => resolve({ status, signal: by, out, err }));
    });
  }

  /** Runs a program in the pod; its standard output. */
  exec(program: string, ...args: string[]): string {
    return inNetns(this.path, program, ...args);
  }

  /** A PATH on which programs are a shell script; REAL in it stands for the program itself. */
  wrap(programs: readonly string[], script: string): string {
    const folder = join(this.folder, "bin");
    mkdirSync(folder, { recursive: true });
    for (const program of programs) {
      const text = script.replaceAll("REAL", find(program));
      writeFileSync(join(folder, program), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    }
    return `${folder}:${process.env["PATH"]}`;
  }

  /** A PATH with these programs only. */
  only(...programs: string[]): string {
    const folder = join(this.folder, "only");
    mkdirSync(folder);
    for (const program of programs) symlinkSync(find(program), join(folder, program));
    return folder;
  }

  nftRuleset(): string {
    return this.exec("nft", "-s", "list", "ruleset");
  }

  /** Policy rules for a mark, one a line, of both families. */
  markRules(): string[] {
    return ["-4", "-6"].flatMap((family) =>
      this.exec("ip", family, "rule")
        .split("\n")
        .filter((line) => line.includes("fwmark")),
    );
  }

  hasPassthroughV6(): boolean {
    return this.exec("ip", "-6", "addr", "show", "dev", "lo").includes("inet6 ::6/128");
  }

  [Symbol.dispose](): void {
    try {
      execFileSync("ip", ["netns", "del", this.netns], { stdio: "ignore" });
    } finally {
      rmSync(this.folder, { recursive: true, force: true });
    }
  }
}

function find(program: string): string {
  return execFileSync("sh", ["-c", `command -v ${program}`], { encoding: "utf8" }).trim();
}
