// SPDX-License-Identifier: Apache-2.0

import { ISTIO_CHAIN_PREFIX, type ProgramOptions } from "./iptables-program.ts";
import { IstioConfigError } from "./istio-config-error.ts";

/** A chain name holds 28 characters (XT_EXTENSION_MAXNAMELEN without the final zero); "_IN_REDIRECT" is the longest end. */
const MAX_PREFIX = 28 - "_IN_REDIRECT".length;

export interface SidecarChains {
  readonly inbound: string;
  readonly redirect: string;
  readonly inRedirect: string;
  readonly output: string;
  readonly outputDns: string;
  readonly divert: string;
  readonly tproxy: string;
  readonly drop: string;
}

export interface AmbientChains {
  readonly prerouting: string;
  readonly output: string;
  readonly postrouting: string;
}

/** "ISTIO" unless told otherwise; throws an IstioConfigError for what cannot begin a chain's name. */
export function chainPrefixOf(options: ProgramOptions): string {
  const prefix = options.chainPrefix ?? ISTIO_CHAIN_PREFIX;
  if (!/^[A-Za-z][A-Za-z0-9_-]*$/.test(prefix) || prefix.length > MAX_PREFIX) {
    throw new IstioConfigError(
      "ERR_ISTIO_CONFIG",
      `chain prefix ${JSON.stringify(prefix)}: a letter, then letters, digits, "_" and "-", at most ${MAX_PREFIX} in all`,
    );
  }
  return prefix;
}

export function sidecarChains(options: ProgramOptions): SidecarChains {
  const prefix = chainPrefixOf(options);
  return {
    inbound: `${prefix}_INBOUND`,
    redirect: `${prefix}_REDIRECT`,
    inRedirect: `${prefix}_IN_REDIRECT`,
    output: `${prefix}_OUTPUT`,
    outputDns: `${prefix}_OUTPUT_DNS`,
    divert: `${prefix}_DIVERT`,
    tproxy: `${prefix}_TPROXY`,
    drop: `${prefix}_DROP`,
  };
}

/** The names of the nftables form: lower case, with dashes. */
export function sidecarNftChains(options: ProgramOptions): SidecarChains {
  const prefix = chainPrefixOf(options).toLowerCase();
  return {
    inbound: `${prefix}-inbound`,
    redirect: `${prefix}-redirect`,
    inRedirect: `${prefix}-in-redirect`,
    output: `${prefix}-output`,
    outputDns: `${prefix}-output-dns`,
    divert: `${prefix}-divert`,
    tproxy: `${prefix}-tproxy`,
    drop: `${prefix}-drop`,
  };
}

export function ambientChains(options: ProgramOptions): AmbientChains {
  const prefix = chainPrefixOf(options);
  return { prerouting: `${prefix}_PRERT`, output: `${prefix}_OUTPUT`, postrouting: `${prefix}_POSTRT` };
}

/** The host's rules stand in the base chain itself, so there is no postrouting chain of ours. */
export function ambientNftChains(options: ProgramOptions): Omit<AmbientChains, "postrouting"> {
  const prefix = chainPrefixOf(options).toLowerCase();
  return { prerouting: `${prefix}-prerouting`, output: `${prefix}-output` };
}

/** "istio-proxy-nat", "istio-ambient-raw". */
export function nftTableName(options: ProgramOptions, kind: "proxy" | "ambient", table: string): string {
  return `${chainPrefixOf(options).toLowerCase()}-${kind}-${table}`;
}
