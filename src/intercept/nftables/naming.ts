// SPDX-License-Identifier: Apache-2.0
/**
 * How our rules are told from everybody else's: the table is ours by its name. Everything of one workload in it has
 * names that begin with its id, and rules with its name as a comment.
 */
import { createHash } from "node:crypto";

/** All workloads of a namespace share one table: in several, each would decide for itself, and the innermost must. */
export const TABLE = "shunt";
export const FAMILY = "inet";
/** As commands name it. */
export const TABLE_WORDS = `${FAMILY} ${TABLE}`;

/** NFTNL_UDATA_COMMENT_MAXLEN: what nft lets a comment have. */
export const MAX_COMMENT_BYTES = 128;

const COMMENT = /^shunt:([^\s]+)(?: (first|netns|level (\d{1,3})))?$/;
const WORKLOAD_OBJECT = /^w[0-9a-f]{8}-/;

export type Rank =
  /** Bound to no scope: before every other. */
  | { readonly kind: "first" }
  /** A cgroup: the deeper, the earlier. */
  | { readonly kind: "level"; readonly level: number }
  /** The whole namespace: the last. */
  | { readonly kind: "netns" };

/** Bytes of the longest rank, with its space. */
const RANK_BYTES = " level 255".length;
const NAME_CHAIN = "name";

/** Begins the names of the workload's chains, sets and counters. */
export function workloadPrefix(name: string): string {
  return `w${createHash("sha256").update(name).digest("hex").slice(0, 8)}-`;
}

/** The prefix in the name of an object; undefined for what all workloads share. */
export function prefixOf(objectName: string): string | undefined {
  return WORKLOAD_OBJECT.exec(objectName)?.[0];
}

/** On a rule. */
export function commentOf(name: string, rank?: Rank): string {
  const suffix = rank === undefined ? "" : ` ${rank.kind === "level" ? `level ${rank.level}` : rank.kind}`;
  return `shunt:${ownerOf(name)}${suffix}`;
}

/** How comments name a workload; where there is no room, "#" and the id, and `longNamePieces` tells the name. */
export function ownerOf(name: string): string {
  return needsPieces(name) ? `#${workloadPrefix(name)}` : encode(name);
}

/** Name of the chain, which nothing leads to, whose comments give a long name; and the comments. */
export function longNamePieces(name: string): { readonly chain: string; readonly comments: string[] } | undefined {
  if (!needsPieces(name)) return undefined;
  const room = MAX_COMMENT_BYTES - "shunt:".length;
  const comments = encode(name).match(new RegExp(`.{1,${room}}`, "g")) ?? [];
  return { chain: `${workloadPrefix(name)}${NAME_CHAIN}`, comments: comments.map((piece) => `shunt:${piece}`) };
}

export interface Comment {
  /** See `ownerOf`. */
  readonly owner: string;
  readonly rank?: Rank;
}

/** Undefined for what was not written by us. */
export function parseComment(comment: string | undefined): Comment | undefined {
  const [, owner, rank, level] = COMMENT.exec(comment ?? "") ?? [];
  if (owner === undefined) return undefined;
  if (level !== undefined) return { owner, rank: { kind: "level", level: Number(level) } };
  return rank === undefined ? { owner } : { owner, rank: { kind: rank as "first" | "netns" } };
}

/** The workload a comment is of. `commentsOf` gives the comments of a chain. One that was not written by us keeps its raw form. */
export function nameOf(owner: string, commentsOf: (chain: string) => readonly (string | undefined)[]): string {
  const pieces = owner.startsWith("#") ? commentsOf(`${owner.slice(1)}${NAME_CHAIN}`) : [];
  const encoded = pieces.length === 0 ? owner : pieces.map((piece) => parseComment(piece)?.owner ?? "").join("");
  try {
    return decodeURIComponent(encoded);
  } catch {
    return encoded;
  }
}

/** Sorts dispatch rules: the smaller, the earlier. */
export function rankValue(rank: Rank): number {
  if (rank.kind === "first") return -1000;
  return rank.kind === "netns" ? 1000 : -rank.level;
}

function needsPieces(name: string): boolean {
  return "shunt:".length + encode(name).length + RANK_BYTES > MAX_COMMENT_BYTES;
}

/** Percent-encoded: a comment is a quoted string without any escapes. */
function encode(name: string): string {
  return [...Buffer.from(name)]
    .map((byte) => {
      const char = String.fromCharCode(byte);
      return /[\w./@:-]/.test(char) ? char : `%${byte.toString(16).padStart(2, "0")}`;
    })
    .join("");
}
