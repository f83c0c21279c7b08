// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { root } from "../scripts/setup/stamp.mjs";
import { type Frame, frameReader } from "./frames.ts";
import { buildInitramfs } from "./initramfs.ts";
import type { Boot } from "./kernel-list.ts";
import type { Emulator, Kernel } from "./parts.ts";
import { VmUnavailable } from "./unavailable.ts";

export interface VmRun {
  /** Exit status of the command in the guest. */
  readonly status: number;
  readonly output: string;
  /** The kernel's log. */
  readonly console: string;
}

export interface VmOptions {
  readonly command: string;
  readonly timeoutMs: number;
  readonly memoryMb?: number;
  readonly boot?: Boot;
  readonly onLine?: (line: string) => void;
  /** The guest is up and begins with the command. */
  readonly onBegin?: () => void;
  /** How instructions are carried out; the environment variable SHUNT_VM_ACCEL, else emulated. */
  readonly accelerator?: string;
  /** What the command reads from /dev/ttyS1; its end is not seen there. */
  readonly input?: NodeJS.ReadableStream;
}

/** Emulation works everywhere; /dev/kvm inside a VM may open and then hang, so it is asked for by name or proven. */
const chosen = process.env["SHUNT_VM_ACCEL"] ?? "tcg";

function qemuArguments(folder: string, kernel: Kernel, emulator: Emulator, options: VmOptions): string[] {
  const { memoryMb = 2048, accelerator = chosen, boot } = options;
  const accelerators = accelerator.split(",").flatMap((name) => ["-accel", name]);
  const words = `console=ttyS0 quiet loglevel=4 panic=-1 ${boot?.append ?? ""} rdinit=/bin/sh -- /init`;
  return [
    ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", ...accelerators, ...emulator.firmware],
    ["-machine", "q35", "-cpu", "max", "-smp", "2", "-m", `${memoryMb}M`],
    // virtiofsd reads the guest's memory, so it has to be shared.
    ["-object", `memory-backend-memfd,id=memory,size=${memoryMb}M,share=on`, "-numa", "node,memdev=memory"],
    ["-chardev", `socket,id=fs,path=${folder}/fs.sock`, "-device", "vhost-user-fs-pci,chardev=fs,tag=host"],
    // Inode numbers of the host's file systems are equal now and then: without "remap", Linux 4.18 lost /root/proc and the
    // like right after init had mounted them.
    ["-fsdev", "local,id=fs9p,path=/,security_model=none,readonly=on,multidevs=remap"],
    ["-device", "virtio-9p-pci,fsdev=fs9p,mount_tag=host9p"],
    ["-serial", `file:${folder}/console`, "-serial", "stdio"],
    ["-kernel", kernel.image, "-initrd", `${folder}/initramfs`, "-append", words],
  ].flat();
}

/** Starts a helper that dies with this process, however that ends. */
function spawnBound(command: string, args: readonly string[], emulator: Emulator, reads = false): ChildProcess {
  const env = { ...process.env, ...emulator.env };
  const stdin = reads ? "pipe" : "ignore";
  return spawn("setpriv", ["--pdeathsig", "KILL", "--", command, ...args], { env, stdio: [stdin, "pipe", "pipe"] });
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null)
    await new Promise((resolve) => child.once("close", resolve));
}

/** Ends a child whatever it does and waits until it is gone. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
  await ended(child);
}

async function socketReady(path: string, daemon: ChildProcess, log: () => string): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!existsSync(path)) {
    if (daemon.exitCode !== null || Date.now() > deadline)
      throw new VmUnavailable(`virtiofsd does not start: ${log()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function startDaemon(folder: string, emulator: Emulator): { child: ChildProcess; log: () => string } {
  const shared = "source=/,sandbox=chroot,cache=always";
  const args = [`--socket-path=${folder}/fs.sock`, ...emulator.virtiofsdOptions, "-o", shared];
  const child = spawnBound(emulator.virtiofsd, args, emulator);
  let text = "";
  const collect = (chunk: Buffer): void => void (text = (text + chunk.toString()).slice(-4000));
  child.stdout?.on("data", collect);
  child.stderr?.on("data", collect);
  child.on("error", (error) => (text += error.message));
  return { child, log: () => text.trim().split("\n").at(-1) ?? "" };
}

/**
 * Boots a kernel on the host's own files (read-only, writes go to memory) and runs one command as root. Where the kernel
 * can't mount them it is booted again, with those that the cells need in its memory.
 */
export async function runInVm(kernel: Kernel, emulator: Emulator, options: VmOptions): Promise<VmRun> {
  try {
    return await boot(kernel, emulator, options, "shared");
  } catch (error) {
    if (!(error instanceof NothingShared)) throw error;
    return boot(kernel, emulator, options, "packed");
  }
}

/** The guest has no way to the host's files. */
class NothingShared extends VmUnavailable {}

async function boot(
  kernel: Kernel,
  emulator: Emulator,
  options: VmOptions,
  files: "shared" | "packed",
): Promise<VmRun> {
  const folder = mkdtempSync(join(tmpdir(), "vm-of-shunt-"));
  // An exit in the middle, as after a signal, takes the children along by itself.
  const discard = (): void => rmSync(folder, { recursive: true, force: true });
  process.once("exit", discard);
  const nonce = randomBytes(8).toString("hex");
  const hostPath = `${dirname(process.execPath)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`;
  const settings = {
    NONCE: nonce,
    COMMAND: options.command,
    DIRECTORY: root,
    RELEASE: kernel.release,
    HOST_PATH: hostPath,
    PATIENCE: "10",
    CGROUPS: options.boot?.cgroups ?? "v2",
    FILES: files,
  };
  writeFileSync(
    join(folder, "initramfs"),
    buildInitramfs(kernel, emulator, { ...settings, MODULES: kernel.modules ?? "" }),
  );
  const daemon = startDaemon(folder, emulator);
  let qemu: ChildProcess | undefined;
  try {
    await socketReady(join(folder, "fs.sock"), daemon.child, daemon.log);
    qemu = spawnBound(
      emulator.qemu,
      qemuArguments(folder, kernel, emulator, options),
      emulator,
      options.input !== undefined,
    );
    if (qemu.stdin !== null) options.input?.pipe(qemu.stdin);
    const frames = await watch(qemu, nonce, options);
    const console = existsSync(join(folder, "console")) ? readFileSync(join(folder, "console"), "utf8") : "";
    return { ...conclude(frames, console), console };
  } finally {
    if (qemu !== undefined) await end(qemu);
    await end(daemon.child);
    discard();
    process.off("exit", discard);
  }
}

/** How guest/init.sh begins its complaint. */
const NOTHING_SHARED = "nothing shared:";

/** The option that a kernel lacks which does not come as far as init, by what it says on its console. */
export function whyNoBoot(said: string): string {
  if (said === "")
    return "it says nothing on its first serial line (CONFIG_SERIAL_8250, CONFIG_SERIAL_8250_CONSOLE, CONFIG_PRINTK)";
  if (/Failed to execute \/bin\/sh \(error -8\)/.test(said)) return `no CONFIG_BINFMT_ELF: ${said}`;
  if (/Unable to mount root fs|No working init found|Cannot open root device/.test(said))
    return `no initramfs (CONFIG_BLK_DEV_INITRD): ${said}`;
  return said;
}

interface Watched {
  readonly frames: readonly Frame[];
  readonly errors: string;
  readonly timedOut: boolean;
}

async function watch(qemu: ChildProcess, nonce: string, options: VmOptions): Promise<Watched> {
  const frames: Frame[] = [];
  let errors = "";
  let timedOut = false;
  const read = frameReader(nonce, (frame) => {
    frames.push(frame);
    if (frame.kind === "begin") options.onBegin?.();
    if (frame.kind === "output") options.onLine?.(frame.line);
  });
  qemu.stdout?.setEncoding("utf8").on("data", read);
  qemu.stderr?.on("data", (chunk: Buffer) => (errors += chunk.toString()));
  qemu.on("error", (error) => (errors += error.message));
  const timer = setTimeout(() => {
    timedOut = true;
    qemu.kill("SIGKILL");
  }, options.timeoutMs);
  await ended(qemu);
  clearTimeout(timer);
  return { frames, errors, timedOut };
}

/** The command's own end, or why there was none. */
function conclude({ frames, errors, timedOut }: Watched, console: string): { status: number; output: string } {
  const output = frames.flatMap((frame) => (frame.kind === "output" ? [frame.line] : [])).join("\n");
  const last = frames.findLast((frame) => frame.kind === "exit" || frame.kind === "broken");
  if (last?.kind === "exit") return { status: last.status, output };
  if (last?.kind === "broken" && last.reason.startsWith(NOTHING_SHARED)) throw new NothingShared(last.reason);
  if (last?.kind === "broken")
    throw new VmUnavailable(
      `the guest is not ready: ${last.reason}\n${console.trim().split("\n").slice(-5).join("\n")}`,
    );
  const began = frames.some((frame) => frame.kind === "begin");
  const tail = `${errors}\n${console}`.trim().split("\n").slice(-15).join("\n");
  if (began)
    throw new Error(`the guest ended without a result${timedOut ? " in time" : ""}\n${output.slice(-2000)}\n${tail}`);
  throw new VmUnavailable(`the guest does not boot${timedOut ? " in time" : ""}: ${whyNoBoot(tail)}`);
}
