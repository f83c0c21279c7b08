// SPDX-License-Identifier: Apache-2.0
import { closeSync, existsSync, openSync, readdirSync, statSync, unlinkSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import type { NativeLink, NativeProgram } from "../../native/addon.ts";
import { loadAddon } from "../../native/load-addon.ts";
import { check } from "../../native/status.ts";
import { type Hook, hookOf } from "./hooks.ts";

/** BPF_F_ALLOW_MULTI, <linux/bpf.h>: beside others, on this cgroup and below. Never exclusively. */
const ALLOW_MULTI = 2;
const { EINVAL, ENOLINK } = constants.errno;
/** Ends the pin's name of a program that is attached without a link. */
const WITHOUT_LINK = "+multi";

type Attachment =
  | { readonly kind: "link"; readonly link: NativeLink }
  /** Before 5.7 there are no links: the attachment is the cgroup's own, and the pin is for finding it again. */
  | { readonly kind: "program"; readonly program: NativeProgram; readonly attachType: number };

/**
 * Programs on cgroups, pinned so that they outlive the process. A pin is named `<program>@<cgroup id>`, because bpffs
 * takes neither slash nor dot.
 */
export class Attachments {
  readonly #directory: string;
  readonly #cgroupRoot: string;
  readonly #withoutLinks: boolean;
  readonly #all = new Map<string, Attachment>();

  /** `withoutLinks`: as on kernels that have none; otherwise that is found out. */
  constructor(directory: string, cgroupRoot: string, withoutLinks = false) {
    this.#directory = directory;
    this.#cgroupRoot = cgroupRoot;
    this.#withoutLinks = withoutLinks;
  }

  /** Attaches and pins; nothing when that is done already. Throws a SystemError that names program and cgroup. */
  attach(hook: Hook, program: NativeProgram, cgroup: string): void {
    const name = `${hook.program}@${statSync(cgroup, { bigint: true }).ino}`;
    if (this.#all.has(name) || this.#all.has(name + WITHOUT_LINK)) return;
    const fd = openSync(cgroup, "r");
    try {
      const context = `${hook.program} at ${cgroup}`;
      const link = this.#withoutLinks ? -EINVAL : program.link(fd, hook.attachType);
      if (typeof link !== "number") return this.#keep(name, { kind: "link", link }, link.pin(this.#pin(name)));
      // An unknown command of bpf(2) and a refused attachment look the same; the older way tells them apart.
      if (link !== -EINVAL || program.attach(fd, hook.attachType, ALLOW_MULTI) < 0)
        check(link, "bpf_link_create", context);
      const own = check(
        loadAddon().programById(check(program.info(), "bpf_prog_get_info_by_fd").id),
        "bpf_prog_get_fd_by_id",
      );
      const attachment = { kind: "program", program: own, attachType: hook.attachType } as const;
      this.#keep(name + WITHOUT_LINK, attachment, own.pin(this.#pin(name + WITHOUT_LINK)));
    } finally {
      closeSync(fd);
    }
  }

  /** What is wrong with an attachment that should be there; undefined when nothing is. */
  problem(hook: Hook, program: NativeProgram, cgroup: string): string | undefined {
    const id = statSync(cgroup, { bigint: true }).ino;
    const name = `${hook.program}@${id}`;
    const attachment = this.#all.get(name) ?? this.#all.get(name + WITHOUT_LINK);
    if (!attachment) return "not attached";
    const wanted = check(program.info(), "bpf_prog_get_info_by_fd").id;
    if (attachment.kind === "link") {
      const info = attachment.link.info();
      // A link that somebody detached has no cgroup any more (bpf_cgroup_link_fill_link_info, kernel/bpf/cgroup.c).
      if (typeof info === "number" || info.cgroupId !== id) return "detached";
      if (info.programId !== wanted) return `program ${info.programId}`;
    } else if (!isAttached(cgroup, attachment)) {
      return "detached";
    }
    const pin = this.#pin(this.#all.has(name) ? name : name + WITHOUT_LINK);
    return existsSync(pin) ? undefined : "not pinned";
  }

  /** Attaches anew where `problem` tells one. */
  repair(hook: Hook, program: NativeProgram, cgroup: string): void {
    if (this.problem(hook, program, cgroup) === undefined) return;
    const name = `${hook.program}@${statSync(cgroup, { bigint: true }).ino}`;
    const former = [name, name + WITHOUT_LINK].flatMap((known) => {
      const attachment = this.#all.get(known);
      this.#all.delete(known);
      if (existsSync(this.#pin(known))) unlinkSync(this.#pin(known));
      return attachment ? [attachment] : [];
    });
    this.attach(hook, program, cgroup);
    // Afterwards: one that is only not as it should be goes on until the next one is there.
    for (const attachment of former) {
      if (attachment.kind === "link") attachment.link.detach();
      handleOf(attachment).close();
    }
  }

  /** What an earlier process attached goes on with this process' programs; `load` gives them. */
  adopt(load: (hook: Hook) => NativeProgram): void {
    for (const name of readdirSync(this.#directory)) {
      const [program = "", cgroup = ""] = name.replace(WITHOUT_LINK, "").split("@");
      const hook = hookOf(program);
      if (name.endsWith(WITHOUT_LINK)) this.#adoptProgram(name, hook, BigInt(cgroup), load);
      else this.#adoptLink(name, hook, load);
    }
  }

  /** Takes the programs away from one cgroup, whose directory may be gone. */
  detach(cgroup: bigint): void {
    for (const name of [...this.#all.keys()]) if (cgroupOf(name) === cgroup) this.#drop(name);
  }

  detachAll(): void {
    for (const name of [...this.#all.keys()]) this.#drop(name);
  }

  /** Lets go of the handles; what is attached stays. */
  close(): void {
    for (const attachment of this.#all.values()) handleOf(attachment).close();
    this.#all.clear();
  }

  #adoptLink(name: string, hook: Hook | undefined, load: (hook: Hook) => NativeProgram): void {
    const link = check(loadAddon().openPinnedLink(this.#pin(name)), "bpf_obj_get", this.#pin(name));
    const status = hook === undefined ? -ENOLINK : link.update(load(hook));
    if (status === -ENOLINK) {
      // Its cgroup has gone and took the link along, or this version has no such hook any more.
      link.close();
      unlinkSync(this.#pin(name));
      return;
    }
    check(status, "bpf_link_update", name);
    this.#all.set(name, { kind: "link", link });
  }

  /** There is no atomic replacement: for a moment both programs run, the second of which sees what the first did. */
  #adoptProgram(name: string, hook: Hook | undefined, cgroup: bigint, load: (hook: Hook) => NativeProgram): void {
    const program = check(loadAddon().openPinnedProgram(this.#pin(name)), "bpf_obj_get", this.#pin(name));
    const directory = findCgroup(this.#cgroupRoot, cgroup);
    this.#all.set(name, { kind: "program", program, attachType: hook?.attachType ?? 0 });
    if (hook === undefined || directory === undefined) return this.#drop(name);
    this.#all.delete(name);
    unlinkSync(this.#pin(name));
    this.attach(hook, load(hook), directory);
    withDirectory(directory, (fd) => program.detach(fd, hook.attachType));
    program.close();
  }

  #keep(name: string, attachment: Attachment, pinned: number): void {
    this.#all.set(name, attachment);
    check(pinned, "bpf_obj_pin", this.#pin(name));
  }

  #drop(name: string): void {
    const attachment = this.#all.get(name);
    if (attachment === undefined) return;
    if (attachment.kind === "link") {
      attachment.link.detach();
    } else {
      const directory = findCgroup(this.#cgroupRoot, cgroupOf(name));
      // A cgroup that is gone has taken its attachments along.
      if (directory !== undefined)
        withDirectory(directory, (fd) => attachment.program.detach(fd, attachment.attachType));
    }
    handleOf(attachment).close();
    if (existsSync(this.#pin(name))) unlinkSync(this.#pin(name));
    this.#all.delete(name);
  }

  #pin(name: string): string {
    return join(this.#directory, name);
  }
}

function handleOf(attachment: Attachment): NativeLink | NativeProgram {
  return attachment.kind === "link" ? attachment.link : attachment.program;
}

function isAttached(cgroup: string, { program, attachType }: Attachment & { readonly kind: "program" }): boolean {
  const { id } = check(program.info(), "bpf_prog_get_info_by_fd");
  const fd = openSync(cgroup, "r");
  try {
    return check(loadAddon().queryPrograms(fd, attachType, 0), "bpf_prog_query", cgroup).ids.includes(id);
  } finally {
    closeSync(fd);
  }
}

function cgroupOf(name: string): bigint {
  return BigInt(name.replace(WITHOUT_LINK, "").split("@")[1] ?? "0");
}

function withDirectory(path: string, action: (fd: number) => void): void {
  const fd = openSync(path, "r");
  try {
    action(fd);
  } finally {
    closeSync(fd);
  }
}

/** The directory of a cgroup by its id, which is its inode number. */
function findCgroup(root: string, id: bigint): string | undefined {
  if (statSync(root, { bigint: true }).ino === id) return root;
  for (const entry of readdirSync(root, { withFileTypes: true })) {
    const found = entry.isDirectory() ? findCgroup(join(root, entry.name), id) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}
