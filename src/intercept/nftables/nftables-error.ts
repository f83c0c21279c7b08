// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../util/shunt-error.ts";

export type NftablesErrorCode =
  /** The specification asks for something rules of this kind can't do. */
  | "ERR_NFTABLES_UNSUPPORTED"
  /** No usable nft on this machine. */
  | "ERR_NFTABLES_UNAVAILABLE"
  /** Rules could not be read, written or taken back. */
  | "ERR_NFTABLES_APPLY"
  /** Our table is there in a layout that this version does not make, and holds workloads of others. */
  | "ERR_NFTABLES_FOREIGN_LAYOUT";

export class NftablesError extends ShuntError<NftablesErrorCode> {}
