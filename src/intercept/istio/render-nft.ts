// SPDX-License-Identifier: Apache-2.0
import type { NftChain, NftProgram, NftRule, NftTable } from "./nft-program.ts";

export interface NftRenderOptions {
  /** Put on every rule, so that it is found again; absent: none. Letters, digits and punctuation without quotes. */
  readonly comment?: string;
}

/** Input of `nft -f -`: one transaction that replaces the contents of the tables. */
export function renderNft(program: NftProgram, options: NftRenderOptions = {}): string {
  return program.tables
    .flatMap((table) => tableLines(table, options))
    .map((line) => `${line}\n`)
    .join("");
}

function tableLines(table: NftTable, options: NftRenderOptions): string[] {
  return [
    `add table inet ${table.name}`,
    `flush table inet ${table.name}`,
    ...table.chains.map((chain) => `add chain inet ${table.name} ${chainText(chain)}`),
    ...table.rules.map((rule) => ruleLine(table.name, rule, options)),
  ];
}

function chainText({ name, base }: NftChain): string {
  return base === undefined ? name : `${name} { type ${base.type} hook ${base.hook} priority ${base.priority} ; }`;
}

function ruleLine(table: string, rule: NftRule, options: NftRenderOptions): string {
  const place = rule.index === undefined ? "" : ` index ${rule.index}`;
  const comment = options.comment === undefined ? "" : ` comment "${options.comment}"`;
  return `${rule.index === undefined ? "add" : "insert"} rule inet ${table} ${rule.chain}${place} ${rule.text}${comment}`;
}
