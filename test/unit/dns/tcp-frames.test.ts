// SPDX-License-Identifier: Apache-2.0
import * as fc from "fast-check";
import { expect, it } from "vitest";
import { frame, TcpFrames } from "../../../src/dns/tcp-frames.ts";

it("gives the same messages however the stream is cut", () => {
  const messages = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 });
  fc.assert(
    fc.property(messages, fc.array(fc.nat({ max: 50 })), (sent, cuts) => {
      const stream = Buffer.concat(sent.map((message) => frame(Buffer.from(message))));
      const received: Buffer[] = [];
      const frames = new TcpFrames((message) => received.push(message));
      let at = 0;
      for (const length of [...cuts, stream.length]) {
        frames.push(stream.subarray(at, at + length));
        at += length;
      }
      expect(received).toEqual(sent.map((message) => Buffer.from(message)));
      expect(frames.pendingBytes).toBe(0);
    }),
  );
});

it("waits for the rest of a message", () => {
  const received: string[] = [];
  const frames = new TcpFrames((message) => received.push(message.toString()));
  frames.push(Buffer.from([0]));
  frames.push(Buffer.from([3, 97, 98]));
  expect(received).toEqual([]);
  expect(frames.pendingBytes).toBe(4);
  frames.push(Buffer.from("c"));
  expect(received).toEqual(["abc"]);
});
