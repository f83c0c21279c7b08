// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../util/shunt-error.ts";

/** A value of Istio's configuration that the rules cannot be made from; the message names field, value and what is allowed. */
export class IstioConfigError extends ShuntError<"ERR_ISTIO_CONFIG"> {}
