// SPDX-License-Identifier: Apache-2.0
/* One function for each behaviour; docs/acceleration.md says what each decides. */
#ifndef SHUNT_CONTRACT_GROUPS_H
#define SHUNT_CONTRACT_GROUPS_H

void check_byte_order(void);
void check_byte_order_deferred_accept(void);

void check_half_read(void);
void check_overlap(void);

void check_sendfile(void);
void check_splice_in(void);

void check_fionread_redirected(void);
void check_fionread_plain(void);
void check_msg_peek(void);
void check_rcvlowat(void);
void check_waitall(void);
void check_splice_out(void);

void check_blocking_read_half_close(void);
void check_blocking_read_other_sender(void);
void check_blocking_read_signal(void);

void check_epoll_level(void);
void check_epoll_edge(void);
void check_poll(void);

void check_eof_plain(void);
void check_half_close(void);
void check_close_after_write(void);
void check_reset(void);

void check_backpressure(void);

void check_oob(void);
void check_zero_copy(void);
void check_mptcp_refused(void);

void check_delete_undelivered(void);
void check_crash_undelivered(void);

#endif
