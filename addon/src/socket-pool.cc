// SPDX-License-Identifier: Apache-2.0
#include "socket-pool.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "netns.h"
#include "owned-fd.h"

namespace shunt {

SocketPool::~SocketPool() {
  for (int fd : store_) close(fd);
}

int SocketPool::Take() {
  if (store_.empty()) {
    int status = Fill();
    if (store_.empty()) return status;
  }
  int fd = store_.back();
  store_.pop_back();
  return fd;
}

int SocketPool::Fill() {
  size_t count = next_;
  next_ = std::min(2 * next_, kMost);
  return InNetns(kind_.netns, [&] {
    while (store_.size() < count) {
      int fd = Make();
      if (fd < 0) return fd;
      store_.push_back(fd);
    }
    return 0;
  });
}

int SocketPool::Make() const {
  OwnedFd fd(socket(kind_.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return -errno;
  int status = kind_.preparation.Apply(fd.get(), kind_.family);
  if (status < 0) return status;
  if (kind_.source && bind(fd.get(), &kind_.source->any, kind_.source->size) < 0) return -errno;
  return fd.Release();
}

}  // namespace shunt
