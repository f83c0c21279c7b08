// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../util/shunt-error.ts";

/** Where a query is sent. */
export interface Resolver {
  readonly address: string;
  readonly port: number;
}

/** Why no answer came. */
export type UpstreamFailure = "timeout" | "unreachable";

export type UpstreamResult =
  | { readonly kind: "answer"; readonly answer: Buffer; readonly resolver: Resolver }
  | { readonly kind: UpstreamFailure; readonly resolver: Resolver | undefined };

/** A socket to a resolver could not be made. */
export class DnsSocketError extends ShuntError<"ERR_DNS_SOCKET"> {}
