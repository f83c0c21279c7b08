// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_LIBBPF_LOG_H_
#define SHUNT_LIBBPF_LOG_H_

#include <string>

namespace shunt {

/**
 * What libbpf says while this object lives, on this thread. libbpf prints instead of returning; nothing
 * of it reaches stderr. libbpf grows the verifier's buffer by itself and prints it between two marks.
 */
class LibbpfLog {
 public:
  LibbpfLog();
  ~LibbpfLog();
  LibbpfLog(const LibbpfLog&) = delete;

  /** The verifier's text; where the verifier said nothing, libbpf's warnings. */
  std::string Text() const { return verifier_.empty() ? warnings_ : verifier_; }
  std::string VerifierText() const { return verifier_; }

  /** Sends libbpf's text nowhere, until the next LibbpfLog. */
  static void Silence();

 private:
  friend struct Printer;
  std::string verifier_;
  std::string warnings_;
};

}  // namespace shunt
#endif  // SHUNT_LIBBPF_LOG_H_
