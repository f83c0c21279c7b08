// SPDX-License-Identifier: Apache-2.0
/** Pieces of the plots in the HTML report. */
import type { PathName, ProxyName } from "./scenario.ts";

/** One hue for each path, told apart without red against green. */
export const COLORS: Readonly<Record<PathName, string>> = {
  direct: "#7f7f7f",
  iptables: "#d55e00",
  tproxy: "#cc79a7",
  nftables: "#e69f00",
  ebpf: "#56b4e9",
  "ebpf-accelerated": "#0072b2",
  "ebpf-spliced": "#009e73",
};

const DASHES: Readonly<Record<ProxyName, string>> = { shunt: "", haproxy: "7 3", nginx: "2 3", envoy: "8 3 2 3" };

/** Attributes of a line: its path by colour, its proxy by dashes. */
export function strokeOf({ path, proxy }: { readonly path: PathName; readonly proxy: ProxyName | null }): string {
  const dash = proxy === null ? "" : DASHES[proxy];
  return `stroke="${COLORS[path]}"${dash === "" ? "" : ` stroke-dasharray="${dash}"`}`;
}

export function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

/** A number of the plot's coordinates. */
export function at(value: number): string {
  return Number(value.toFixed(1)).toString();
}

export function text(x: number, y: number, content: string, anchor: "start" | "middle" | "end" = "start"): string {
  return `<text x="${at(x)}" y="${at(y)}" text-anchor="${anchor}">${escapeHtml(content)}</text>`;
}
