// SPDX-License-Identifier: MIT
/** Calls of libc that only these tests make. */
import koffi from 'koffi';

const c = koffi.load('libc.so.6');

export const testLibc = {
  unshare: c.func('int unshare(int flags)'),
  setns: c.func('int setns(int fd, int type)'),
  send: c.func('intptr_t send(int fd, const void *bytes, size_t length, int flags)'),
  sendto: c.func(
    'intptr_t sendto(int fd, const void *bytes, size_t length, int flags, const void *to, uint32_t toLength)',
  ),
  recvfrom: c.func(
    'intptr_t recvfrom(int fd, void *into, size_t length, int flags, void *from, _Inout_ uint32_t *fromLength)',
  ),
};
