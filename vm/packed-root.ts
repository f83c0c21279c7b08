// SPDX-License-Identifier: Apache-2.0
/** The guest's userspace for kernels that can't mount the host's files: what the cells run, out of the host's own files. */
import { spawnSync } from "node:child_process";
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, realpathSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { root } from "../scripts/setup/stamp.mjs";
import { type Member, S_IFDIR, S_IFLNK, S_IFREG } from "./cpio.ts";
import { VmUnavailable } from "./unavailable.ts";

/** Of the cells' scripts and of the agent itself. */
const PROGRAMS = [
  ...["sh", "env", "bash", "node", "python3", "curl", "ip", "nft", "nsenter", "unshare", "setpriv", "ping"],
  ...["iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"],
  ...["nft", "legacy"].flatMap((kind) =>
    ["iptables", "ip6tables"].flatMap((name) => ["", "-save", "-restore"].map((what) => `${name}-${kind}${what}`)),
  ),
  ...["awk", "cat", "chmod", "cp", "cut", "date", "find", "grep", "head", "id", "kill", "ln", "ls", "mkdir", "mount"],
  ...["mv", "od", "printf", "ps", "readlink", "rm", "rmdir", "sed", "seq", "sleep", "sort", "stat", "sysctl", "tail"],
  ...["timeout", "touch", "tr", "true", "umount", "uname", "uniq", "wc", "xargs"],
];
/** What those read at run time. */
const FILES = [
  ...["passwd", "group", "nsswitch.conf", "hosts", "host.conf", "gai.conf", "protocols", "services"],
  ...["ld.so.cache", "iproute2", "xtables.conf", "ethertypes"],
].map((name) => join("/etc", name));
const OTHERS = [
  // Paths that are written down somewhere.
  "/bin/sh",
  "/sbin/ip",
  "/usr/share/iproute2",
  "/usr/lib/iproute2",
  "/usr/lib/x86_64-linux-gnu/xtables",
  "/usr/lib64/xtables",
  "/usr/lib/locale/C.utf8",
];
/** Of the repository; nothing of it is compiled in the guest. */
const OURS = [
  "package.json",
  "dist",
  "bpf/build",
  "addon/build/Release",
  "vm/tests",
  "test/vm",
  "test/support/programs",
];
/** Not worth the memory. */
const LEFT_OUT = new Set(["test", "tests", "idlelib", "tkinter", "lib2to3", "ensurepip", "pydoc_data", "turtledemo"]);
const LEFT_OUT_NAMES = /^config-|^obj\.target$|^\.deps$|\.opt-[12]\.pyc$|\.map$|\.d\.ts$|\.a$/;

/** Collects files by their path; symbolic links stay links, and what they lead to comes along. */
class Packing {
  readonly #members = new Map<string, Member>();
  readonly #binaries: string[] = [];

  get members(): Member[] {
    return [...this.#members.values()];
  }

  add(path: string): void {
    if (!existsSync(path)) return;
    // A folder on the way may be a link, as /bin is.
    const place = join(this.#folder(dirname(path)), basename(path));
    if (this.#members.has(place)) return;
    const about = lstatSync(place);
    if (about.isSymbolicLink()) {
      this.#put(place, S_IFLNK | 0o777, Buffer.from(readlinkSync(place)));
      this.add(resolve(dirname(place), readlinkSync(place)));
    } else if (about.isDirectory()) {
      this.#folder(place);
      for (const name of readdirSync(place)) {
        if (!LEFT_OUT.has(name) && !LEFT_OUT_NAMES.test(name)) this.add(join(place, name));
      }
    } else if (about.isFile()) {
      const content = readFileSync(place);
      this.#put(place, S_IFREG | (about.mode & 0o7777), content);
      if (content.toString("latin1", 0, 4) === "\x7fELF") this.#binaries.push(place);
    }
  }

  /** The libraries that everything so far is linked with. */
  addLibraries(): void {
    const { stdout } = spawnSync("ldd", this.#binaries.splice(0), { encoding: "utf8", maxBuffer: 64 << 20 });
    for (const [, library = ""] of stdout.matchAll(/(?:=> |^\s+)(\/\S+) \(0x/gm)) this.add(library);
  }

  #put(place: string, mode: number, content: Uint8Array): void {
    this.#members.set(place, { name: `root${place}`, mode, content });
  }

  /** Adds a folder with those above it, and links among them as links; gives where it really is. */
  #folder(path: string): string {
    if (path === "/") return path;
    const place = join(this.#folder(dirname(path)), basename(path));
    const real = realpathSync(path);
    if (!this.#members.has(place)) {
      if (lstatSync(place).isSymbolicLink()) {
        this.#put(place, S_IFLNK | 0o777, Buffer.from(readlinkSync(place)));
        this.#folder(real);
      } else {
        this.#put(place, S_IFDIR | 0o755, new Uint8Array());
      }
    }
    return real;
  }
}

/** Folders in node_modules of a package's dependencies, and of theirs. */
function dependencyFolders(folder: string, found = new Set<string>()): Set<string> {
  const { dependencies = {} } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
    dependencies?: Record<string, string>;
  };
  for (const name of Object.keys(dependencies)) {
    const place = [join(folder, "node_modules", name), join(root, "node_modules", name)].find((path) =>
      existsSync(path),
    );
    if (place === undefined || found.has(place)) continue;
    found.add(place);
    dependencyFolders(place, found);
  }
  return found;
}

/**
 * Everything below "root" of the initramfs.
 * @param guestPath the guest's PATH
 */
export function packRoot(guestPath: string): Member[] {
  if (!existsSync("/usr/bin/python3"))
    throw new VmUnavailable("the guest's files can't be packed: no /usr/bin/python3");
  const packing = new Packing();
  for (const name of PROGRAMS) {
    const path = guestPath
      .split(":")
      .map((folder) => join(folder, name))
      .find((place) => existsSync(place));
    if (path !== undefined) packing.add(path);
  }
  const python = realpathSync("/usr/bin/python3");
  for (const path of [join("/usr/lib", basename(python)), ...FILES, ...OTHERS]) packing.add(path);
  for (const path of OURS) packing.add(join(root, path));
  for (const path of dependencyFolders(root)) packing.add(path);
  packing.addLibraries();
  const empty = ["dev", "proc", "sys", "run", "tmp", "root"].map((name) => `root/${name}`);
  return [
    { name: "root", mode: S_IFDIR | 0o755, content: new Uint8Array() },
    ...packing.members,
    ...empty.map((name): Member => ({ name, mode: S_IFDIR | 0o755, content: new Uint8Array() })),
  ];
}
