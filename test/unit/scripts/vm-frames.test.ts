// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { packCpio } from "../../../vm/cpio.ts";
import { type Frame, frameReader } from "../../../vm/frames.ts";
import { loadOrder } from "../../../vm/initramfs.ts";
import { whyNoBoot } from "../../../vm/qemu.ts";

function read(...chunks: string[]): Frame[] {
  const frames: Frame[] = [];
  const take = frameReader("n0nce", (frame) => frames.push(frame));
  chunks.forEach(take);
  return frames;
}

describe("the guest's serial line", () => {
  it("is cut into frames wherever the pieces end", () => {
    const text = "noise\n@@n0nce begin\none\r\ntwo\n@@n0nce exit 3\n";
    const expected: Frame[] = [
      { kind: "begin" },
      { kind: "output", line: "one" },
      { kind: "output", line: "two" },
      { kind: "exit", status: 3 },
    ];
    expect(read(text)).toEqual(expected);
    expect(read(...text.split(""))).toEqual(expected);
  });

  it("keeps a last line that has no newline of its own", () => {
    expect(read("@@n0nce begin\nhalf@@n0nce exit 0\n").slice(1)).toEqual([
      { kind: "output", line: "half" },
      { kind: "exit", status: 0 },
    ]);
  });

  it("believes no frame with another run's nonce", () => {
    expect(read("@@n0nce begin\n@@other exit 0\n").slice(1)).toEqual([{ kind: "output", line: "@@other exit 0" }]);
  });

  it("says why the guest never came to the command", () => {
    expect(read("@@n0nce broken no tmpfs\n")).toEqual([{ kind: "broken", reason: "no tmpfs" }]);
  });
});

describe("the initramfs", () => {
  it("loads a module after everything it needs", () => {
    const dep = "k/a.ko: k/c.ko k/b.ko\nk/b.ko: k/c.ko.xz\nk/c.ko:\nk/c.ko.xz:\nk/d.ko:\n";
    expect(loadOrder(dep, ["a", "missing"])).toEqual(["k/c.ko", "k/c.ko.xz", "k/b.ko", "k/a.ko"]);
  });

  it("is a newc archive, each member aligned to four bytes", () => {
    const archive = packCpio([{ name: "init", mode: 0o100755, content: Buffer.from("hello") }]);
    expect(archive.toString("latin1", 0, 6)).toBe("070701");
    expect(archive.length % 4).toBe(0);
    expect(Number.parseInt(archive.toString("latin1", 54, 62), 16)).toBe(5);
    expect(archive.toString("latin1", 116, 121)).toBe("hello");
  });

  it("can have devices and links", () => {
    const device = { name: "dev/null", mode: 0o020666, content: new Uint8Array(), device: [1, 3] } as const;
    const archive = packCpio([device]).toString("latin1");
    expect([archive.slice(78, 86), archive.slice(86, 94)]).toEqual(["00000001", "00000003"]);
    const name = "root/bin";
    const link = packCpio([{ name, mode: 0o120777, content: Buffer.from("usr/bin") }]).toString("latin1");
    expect(link.slice(110, 110 + name.length)).toBe(name);
    expect(link).toContain("usr/bin");
  });
});

describe("a kernel that does not come as far as init", () => {
  it("is told by the option it lacks", () => {
    expect(whyNoBoot("")).toContain("CONFIG_SERIAL_8250_CONSOLE");
    expect(whyNoBoot("Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)")).toContain(
      "CONFIG_BLK_DEV_INITRD",
    );
    expect(whyNoBoot("Failed to execute /bin/sh (error -8)")).toContain("CONFIG_BINFMT_ELF");
    expect(whyNoBoot("BUG: unable to handle page fault")).toBe("BUG: unable to handle page fault");
  });
});
