// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_OWNED_FD_H_
#define SHUNT_OWNED_FD_H_

#include <unistd.h>

#include <utility>

namespace shunt {

/** A descriptor that is closed with its owner. */
class OwnedFd {
 public:
  explicit OwnedFd(int fd = -1) : fd_(fd) {}
  OwnedFd(OwnedFd&& other) noexcept : fd_(other.Release()) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    Reset();
    fd_ = other.Release();
    return *this;
  }
  ~OwnedFd() { Reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }
  void Reset() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
};

}  // namespace shunt
#endif  // SHUNT_OWNED_FD_H_
