// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../util/shunt-error.ts";

export type IstioIptablesErrorCode =
  /** The pod has no address from which the families could be told. */
  | "ERR_ISTIO_NO_ADDRESS"
  | "ERR_ISTIO_RESOLV_CONF"
  /** Programs or features of the kernel are missing. */
  | "ERR_ISTIO_UNAVAILABLE"
  /** What is there differs from what should be, and nobody said that it may be replaced. */
  | "ERR_ISTIO_DRIFT"
  /** A program refused; the namespace is as it was before. */
  | "ERR_ISTIO_REFUSED"
  /** A program refused, and not all could be put back. */
  | "ERR_ISTIO_NOT_RESTORED"
  /** The rules do not do what they should. */
  | "ERR_ISTIO_VALIDATION";

export class IstioIptablesError extends ShuntError<IstioIptablesErrorCode> {}
