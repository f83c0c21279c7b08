// SPDX-License-Identifier: Apache-2.0
#include "libbpf-log.h"

#include <bpf/libbpf.h>

#include <cstdarg>
#include <cstdio>

namespace shunt {
namespace {

thread_local LibbpfLog* current = nullptr;

std::string Format(const char* format, va_list arguments) {
  va_list again;
  va_copy(again, arguments);
  int length = std::vsnprintf(nullptr, 0, format, arguments);
  std::string text(length > 0 ? length : 0, '\0');
  std::vsnprintf(text.data(), text.size() + 1, format, again);
  va_end(again);
  return text;
}

}  // namespace

struct Printer {
  static int Print(enum libbpf_print_level level, const char* format, va_list arguments) {
    if (current == nullptr) return 0;
    static constexpr char kBegin[] = "-- BEGIN PROG LOAD LOG --\n";
    bool is_log = std::string_view(format).find(kBegin) != std::string_view::npos;
    if (level == LIBBPF_DEBUG && !is_log) return 0;
    std::string text = Format(format, arguments);
    if (!is_log) {
      current->warnings_ += text;
      return 0;
    }
    size_t begin = text.find(kBegin) + sizeof(kBegin) - 1;
    current->verifier_ += text.substr(begin, text.rfind("-- END PROG LOAD LOG --") - begin);
    return 0;
  }
};

LibbpfLog::LibbpfLog() {
  // Each time, because the print function is one for the process and another copy of the addon has its own.
  libbpf_set_print(Printer::Print);
  current = this;
}

LibbpfLog::~LibbpfLog() { current = nullptr; }

void LibbpfLog::Silence() { libbpf_set_print(Printer::Print); }

}  // namespace shunt
