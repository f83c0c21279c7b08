// SPDX-License-Identifier: Apache-2.0
import { endianness } from "node:os";
import { describe, expect, it } from "vitest";
import { parseListening } from "../../../src/intercept/listening-sockets.ts";

const HEAD =
  "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                                                     \n";

// The kernel prints words in the machine's byte order; these were printed on a little-endian one.
describe.skipIf(endianness() !== "LE")("a line of /proc/net/tcp (skipped: the machine is not little-endian)", () => {
  it("tells address, port and inode of a listener", () => {
    const text = `${HEAD}   0: 0100007F:3A99 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1337        0 41530 1 0000000000000000 100 0 0 10 0\n`;
    expect(parseListening(text, 4)).toEqual([{ family: 4, address: "127.0.0.1", port: 15001, inode: 41530 }]);
  });

  it("of a connection is not a listener", () => {
    const text = `${HEAD}   0: 0100007F:3A99 0100007F:8000 01 00000000:00000000 00:00000000 00000000  1337        0 41531 1 0000000000000000 20 4 0 10 -1\n`;
    expect(parseListening(text, 4)).toEqual([]);
  });

  it("has IPv6 addresses as four words", () => {
    const line = (address: string): string =>
      `   0: ${address}:3A9E 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1337        0 7 1 0 100 0 0 10 0\n`;
    const text =
      HEAD +
      line("00000000000000000000000001000000") +
      line("00000000000000000000000000000000") +
      line("000099FD000000000000000002000000");
    expect(parseListening(text, 6).map(({ address }) => address)).toEqual(["::1", "::", "fd99::2"]);
  });
});
