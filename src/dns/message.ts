// SPDX-License-Identifier: Apache-2.0
/**
 * DNS messages as bytes (RFC 1035 §4.1, EDNS0 RFC 6891). Only what a forwarder needs to know is read; what
 * it forwards stays as it came, but for the id.
 */
import { Buffer } from "node:buffer";
import dnsPacket from "dns-packet";

export const HEADER_BYTES = 12;
/** Largest UDP message without EDNS0 (RFC 1035 §2.3.4). */
export const PLAIN_UDP_BYTES = 512;
/** Type, class, TTL and length of an OPT record after its one-byte root name. */
const OPT_BYTES = 11;

export const RCODE_FORMERR = 1;
export const RCODE_SERVFAIL = 2;

/** dns-packet 5.6 has no name for these (RFC 9460). */
const NEWER_TYPES: ReadonlyMap<number, string> = new Map([
  [64, "SVCB"],
  [65, "HTTPS"],
]);

const FLAG_RESPONSE = 0x80;
const FLAG_TRUNCATED = 0x02;
const FLAG_RECURSION_AVAILABLE = 0x80;

export interface Query {
  readonly id: number;
  /** Lower case, without the final dot; "." for the root. */
  readonly name: string;
  /** "A", "AAAA", …, or "TYPE65" for one this program has no name for. */
  readonly type: string;
  readonly typeCode: number;
  /** Length of header and question: what an answer has to repeat. */
  readonly questionEnd: number;
  /** What the client can take over UDP: 512 without EDNS0, and never less. */
  readonly udpPayloadBytes: number;
  readonly hasEdns: boolean;
}

/** `formerr` can be told so; `drop` has no id to answer to, or is itself an answer. */
export type ParsedQuery =
  | { readonly kind: "query"; readonly query: Query }
  | { readonly kind: "formerr" }
  | { readonly kind: "drop" };

export function parseQuery(bytes: Buffer): ParsedQuery {
  if (bytes.length < HEADER_BYTES || isResponse(bytes)) return { kind: "drop" };
  const questionEnd = bytes.readUInt16BE(4) === 1 ? questionEndOf(bytes) : undefined;
  const question = questionEnd === undefined ? undefined : decode(questionOnly(bytes, questionEnd))?.questions?.[0];
  if (questionEnd === undefined || !question) return { kind: "formerr" };
  const payload = clientPayload(bytes);
  if (payload === "unreadable") return { kind: "formerr" };
  const typeCode = bytes.readUInt16BE(questionEnd - 4);
  const query: Query = {
    id: idOf(bytes),
    name: question.name.toLowerCase(),
    type: typeName(question.type, typeCode),
    typeCode,
    questionEnd,
    udpPayloadBytes: Math.max(PLAIN_UDP_BYTES, payload ?? 0),
    hasEdns: payload !== undefined,
  };
  return { kind: "query", query };
}

/** The size the client's OPT record names; undefined without one. */
function clientPayload(bytes: Buffer): number | undefined | "unreadable" {
  // Sections of an UPDATE (RFC 2136) follow other rules; all that matters of them is that they are passed on.
  const isPlainQuery = ((bytes[2] ?? 0) & 0x78) === 0;
  if (!isPlainQuery) return undefined;
  const packet = decode(bytes);
  if (!packet) return "unreadable";
  return packet.additionals?.find((record) => record.type === "OPT")?.udpPayloadSize;
}

/** RFC 3597 §5 writes TYPE65280 where dns-packet writes UNKNOWN_65280. */
function typeName(name: string, code: number): string {
  return name.startsWith("UNKNOWN_") ? (NEWER_TYPES.get(code) ?? `TYPE${code}`) : name;
}

function decode(bytes: Buffer): dnsPacket.DecodedPacket | undefined {
  try {
    return dnsPacket.decode(bytes);
  } catch {
    return undefined;
  }
}

function questionOnly(bytes: Buffer, questionEnd: number): Buffer {
  const copy = Buffer.from(bytes.subarray(0, questionEnd));
  copy.fill(0, 6, HEADER_BYTES);
  return copy;
}

/** Offset after the first question, or undefined when it doesn't fit. A question's name is never compressed. */
function questionEndOf(bytes: Buffer): number | undefined {
  let at = HEADER_BYTES;
  while (at < bytes.length) {
    const length = bytes[at] ?? 0;
    if (length === 0) return at + 5 <= bytes.length ? at + 5 : undefined;
    // 255 bytes of name at most (RFC 1035 §2.3.4); the two high bits mark a pointer.
    if (length > 63 || at + length - HEADER_BYTES > 254) return undefined;
    at += length + 1;
  }
  return undefined;
}

export function idOf(bytes: Buffer): number {
  return bytes.readUInt16BE(0);
}

/** A copy with another id; everything else untouched. */
export function withId(bytes: Buffer, id: number): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt16BE(id, 0);
  return copy;
}

export function isResponse(bytes: Buffer): boolean {
  return ((bytes[2] ?? 0) & FLAG_RESPONSE) !== 0;
}

export function isTruncated(bytes: Buffer): boolean {
  return ((bytes[2] ?? 0) & FLAG_TRUNCATED) !== 0;
}

/** The low four bits; an extended code (RFC 6891 §6.1.3) stays with the client. */
export function rcodeOf(bytes: Buffer): number {
  return (bytes[3] ?? 0) & 0x0f;
}

/**
 * True when `answer` is a response with this id to the question of `query`. Names are compared without
 * regard to case (RFC 4343). A server that gave up early may leave the question out (RFC 1035 says nothing);
 * it is believed only with an error code.
 */
export function answers(answer: Buffer, id: number, query: Buffer, questionEnd: number): boolean {
  if (answer.length < HEADER_BYTES || !isResponse(answer) || idOf(answer) !== id) return false;
  const questions = answer.readUInt16BE(4);
  if (questions === 0) return rcodeOf(answer) !== 0;
  if (questions !== 1 || answer.length < questionEnd) return false;
  return sameQuestion(answer, query, questionEnd);
}

function sameQuestion(a: Buffer, b: Buffer, questionEnd: number): boolean {
  const typeAt = questionEnd - 4;
  for (let i = HEADER_BYTES; i < typeAt; i++) if (lowerCase(a[i] ?? 0) !== lowerCase(b[i] ?? 0)) return false;
  return a.compare(b, typeAt, questionEnd, typeAt, questionEnd) === 0;
}

/** Length bytes are below 64 and so never a letter. */
function lowerCase(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
}

/** An answer without records that repeats the question as it was asked. */
export function errorAnswer(query: Buffer, parsed: Query, rcode: number): Buffer {
  return bareAnswer(query, parsed, { rcode, truncated: false });
}

/** FORMERR for what could not be read: header only, since there is no question to repeat. */
export function formatErrorAnswer(query: Buffer): Buffer {
  const answer = Buffer.alloc(HEADER_BYTES);
  query.copy(answer, 0, 0, 3);
  answer[2] = ((answer[2] ?? 0) & 0x79) | FLAG_RESPONSE;
  answer[3] = FLAG_RECURSION_AVAILABLE | RCODE_FORMERR;
  return answer;
}

/** What a client gets over UDP for an answer it has no room for; TC makes it ask again over TCP. */
export function truncatedAnswer(query: Buffer, parsed: Query, answer: Buffer): Buffer {
  const short = bareAnswer(query, parsed, { rcode: rcodeOf(answer), truncated: true });
  // AA, RA, AD and CD are the resolver's to say.
  short[2] = ((short[2] ?? 0) & ~0x04) | ((answer[2] ?? 0) & 0x04);
  short[3] = answer[3] ?? 0;
  return short;
}

function bareAnswer(query: Buffer, parsed: Query, what: { rcode: number; truncated: boolean }): Buffer {
  const answer = Buffer.alloc(parsed.questionEnd + (parsed.hasEdns ? OPT_BYTES : 0));
  query.copy(answer, 0, 0, parsed.questionEnd);
  // Kept: opcode and RD.
  answer[2] = ((query[2] ?? 0) & 0x79) | FLAG_RESPONSE | (what.truncated ? FLAG_TRUNCATED : 0);
  answer[3] = FLAG_RECURSION_AVAILABLE | what.rcode;
  answer.writeUInt16BE(1, 4);
  answer.writeUInt16BE(0, 6);
  answer.writeUInt16BE(0, 8);
  answer.writeUInt16BE(parsed.hasEdns ? 1 : 0, 10);
  if (parsed.hasEdns) {
    // Root name, type OPT, our own payload size; version, flags and options zero.
    answer.writeUInt16BE(41, parsed.questionEnd + 1);
    answer.writeUInt16BE(1232, parsed.questionEnd + 3);
  }
  return answer;
}
