// SPDX-License-Identifier: Apache-2.0
import dnsPacket, { type Packet } from "dns-packet";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  answers,
  errorAnswer,
  formatErrorAnswer,
  isTruncated,
  parseQuery,
  type Query,
  rcodeOf,
  truncatedAnswer,
  withId,
} from "../../../src/dns/message.ts";

const label = fc.stringMatching(/^[a-zA-Z0-9_-]{1,20}$/);
const name = fc.array(label, { minLength: 1, maxLength: 6 }).map((labels) => labels.join("."));
const type = fc.constantFrom(
  "A" as const,
  "AAAA" as const,
  "TXT" as const,
  "MX" as const,
  "SRV" as const,
  "PTR" as const,
  "ANY" as never,
);
const edns = fc.option(fc.integer({ min: 1, max: 65535 }), { nil: undefined });
const id = fc.integer({ min: 0, max: 65535 });

function encodeQuery(of: { id: number; name: string; type: "A"; udpPayloadSize?: number | undefined }): Buffer {
  const packet: Packet = {
    type: "query",
    id: of.id,
    flags: dnsPacket.RECURSION_DESIRED,
    questions: [{ type: of.type, name: of.name }],
  };
  if (of.udpPayloadSize !== undefined) {
    packet.additionals = [
      {
        type: "OPT",
        name: ".",
        udpPayloadSize: of.udpPayloadSize,
        extendedRcode: 0,
        ednsVersion: 0,
        flags: 0,
        flag_do: false,
        options: [],
      },
    ];
  }
  return dnsPacket.encode(packet);
}

const query = fc.record({ id, name, type: type as fc.Arbitrary<"A">, udpPayloadSize: edns });

function parsed(bytes: Buffer): Query {
  const result = parseQuery(bytes);
  if (result.kind !== "query") throw new Error(result.kind);
  return result.query;
}

describe("parseQuery", () => {
  it("reads what dns-packet writes", () => {
    fc.assert(
      fc.property(query, (of) => {
        const bytes = encodeQuery(of);
        const result = parsed(bytes);
        expect(result).toMatchObject({
          id: of.id,
          name: of.name.toLowerCase(),
          type: of.type,
          hasEdns: of.udpPayloadSize !== undefined,
        });
        expect(result.udpPayloadBytes).toBe(Math.max(512, of.udpPayloadSize ?? 0));
        expect(result.questionEnd).toBe(12 + of.name.length + 2 + 4);
      }),
    );
  });

  it("never throws, and answers no answer", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        const result = parseQuery(Buffer.from(bytes));
        const isAnswer = bytes.length < 12 || ((bytes[2] ?? 0) & 0x80) !== 0;
        expect(result.kind === "drop").toBe(isAnswer);
      }),
    );
  });

  it("never throws on a query with any part changed or cut off", () => {
    fc.assert(
      fc.property(query, fc.nat(), fc.integer({ min: 0, max: 255 }), fc.nat(), (of, at, byte, cut) => {
        const bytes = encodeQuery(of);
        bytes[at % bytes.length] = byte;
        const part = bytes.subarray(0, cut % (bytes.length + 1));
        const result = parseQuery(part);
        expect(result.kind === "query" ? result.query.questionEnd : 0).toBeLessThanOrEqual(part.length);
      }),
    );
  });

  it("calls the root by its name and unknown types by their number", () => {
    const bytes = dnsPacket.encode({ type: "query", id: 1, questions: [{ type: "UNKNOWN_65280" as "A", name: "." }] });
    bytes.writeUInt16BE(65280, bytes.length - 4);
    expect(parsed(bytes)).toMatchObject({ name: ".", type: "TYPE65280", questionEnd: 17 });
    bytes.writeUInt16BE(65, bytes.length - 4);
    expect(parsed(bytes).type).toBe("HTTPS");
  });

  it("refuses a compressed question, two questions and none", () => {
    const bytes = encodeQuery({ id: 1, name: "a.b", type: "A" });
    const pointer = Buffer.concat([bytes.subarray(0, 12), Buffer.from([0xc0, 0x0c, 0, 1, 0, 1])]);
    expect(parseQuery(pointer).kind).toBe("formerr");
    for (const count of [0, 2]) {
      const changed = Buffer.from(bytes);
      changed.writeUInt16BE(count, 4);
      expect(parseQuery(changed).kind).toBe("formerr");
    }
  });

  it("passes a dynamic update without reading its sections", () => {
    const bytes = Buffer.concat([
      encodeQuery({ id: 1, name: "example.com", type: "A" }),
      Buffer.from([0, 0, 1, 0, 255, 0, 0, 0, 0, 0, 0]),
    ]);
    bytes[2] = 5 << 3;
    bytes.writeUInt16BE(1, 6);
    expect(parsed(bytes)).toMatchObject({ name: "example.com", hasEdns: false });
  });
});

describe("answers", () => {
  const respond = (bytes: Buffer): Buffer => {
    const response = Buffer.from(bytes);
    response[2] = (response[2] ?? 0) | 0x80;
    return response;
  };

  it("takes an answer to the question in any case of letters, and under its id only", () => {
    fc.assert(
      fc.property(query, fc.boolean(), id, (of, upper, other) => {
        const bytes = encodeQuery(of);
        const changed = upper ? of.name.toUpperCase() : of.name.toLowerCase();
        const response = respond(encodeQuery({ ...of, name: changed }));
        const { questionEnd } = parsed(bytes);
        expect(answers(response, of.id, bytes, questionEnd)).toBe(true);
        expect(answers(response, other, bytes, questionEnd)).toBe(other === of.id);
        expect(answers(bytes, of.id, bytes, questionEnd), "a query is no answer").toBe(false);
      }),
    );
  });

  it("takes no answer to another question", () => {
    fc.assert(
      fc.property(query, query, (a, b) => {
        fc.pre(a.name.toLowerCase() !== b.name.toLowerCase() || a.type !== b.type);
        const bytes = encodeQuery(a);
        expect(answers(respond(encodeQuery({ ...b, id: a.id })), a.id, bytes, parsed(bytes).questionEnd)).toBe(false);
      }),
    );
  });

  it("takes an answer without a question only when it is an error", () => {
    const bytes = encodeQuery({ id: 5, name: "a.b", type: "A" });
    const bare = Buffer.alloc(12);
    bare.writeUInt16BE(5, 0);
    bare[2] = 0x80;
    expect(answers(bare, 5, bytes, parsed(bytes).questionEnd)).toBe(false);
    bare[3] = 2;
    expect(answers(bare, 5, bytes, parsed(bytes).questionEnd)).toBe(true);
  });
});

describe("answers of our own", () => {
  it("repeat the question byte by byte and can be read by dns-packet", () => {
    fc.assert(
      fc.property(query, fc.constantFrom(2, 5), (of, rcode) => {
        const bytes = encodeQuery(of);
        const found = parsed(bytes);
        const answer = errorAnswer(bytes, found, rcode);
        const decoded = dnsPacket.decode(answer);
        expect(decoded).toMatchObject({
          id: of.id,
          type: "response",
          flag_rd: true,
          flag_ra: true,
          flag_tc: false,
          questions: [{ name: of.name, type: of.type }],
        });
        expect(rcodeOf(answer)).toBe(rcode);
        expect(decoded.additionals).toHaveLength(of.udpPayloadSize === undefined ? 0 : 1);
        expect(answer.subarray(12, found.questionEnd)).toEqual(bytes.subarray(12, found.questionEnd));
        expect(answers(answer, of.id, bytes, found.questionEnd)).toBe(true);
      }),
    );
  });

  it("fit into 512 bytes when truncated, with the flags and the code of the answer", () => {
    fc.assert(
      fc.property(query, fc.integer({ min: 0, max: 15 }), (of, rcode) => {
        const bytes = encodeQuery(of);
        const long = dnsPacket.encode({
          type: "response",
          id: of.id,
          flags: dnsPacket.AUTHORITATIVE_ANSWER | rcode,
          questions: [{ name: of.name, type: of.type }],
          answers: [{ type: "TXT", name: of.name, data: "x".repeat(200) }],
        });
        const short = truncatedAnswer(bytes, parsed(bytes), long);
        expect(short.length).toBeLessThanOrEqual(512);
        expect(isTruncated(short)).toBe(true);
        expect(rcodeOf(short)).toBe(rcode);
        expect(dnsPacket.decode(short)).toMatchObject({ flag_aa: true, answers: [] });
      }),
    );
  });

  it("say FORMERR under the id of what could not be read", () => {
    const answer = formatErrorAnswer(Buffer.from("abcd0123456789"));
    expect(dnsPacket.decode(answer)).toMatchObject({ id: 0x6162, type: "response", rcode: "FORMERR", questions: [] });
  });

  it("differ from the original in the id alone", () => {
    fc.assert(
      fc.property(query, id, (of, other) => {
        const bytes = encodeQuery(of);
        const changed = withId(bytes, other);
        expect(changed.readUInt16BE(0)).toBe(other);
        expect(changed.subarray(2)).toEqual(bytes.subarray(2));
        expect(bytes.readUInt16BE(0)).toBe(of.id);
      }),
    );
  });
});
