/* SPDX-License-Identifier: GPL-2.0-only */
/* Which flows wait for something that was sent and not acknowledged: they are made to go on after a takeover. */
#ifndef SPLICE_OUTSTANDING_H
#define SPLICE_OUTSTANDING_H

#include "track.h"

/*
 * Both ends have been heard, and what one has sent goes beyond what the other has acknowledged. More than a
 * window of it, and one of the two numbers is not what it seems.
 */
static __always_inline bool is_outstanding(struct splice_entry *e, __u32 direction)
{
	__s32 owed = e->live.seen_end[direction] - receiver_next(e, direction);

	return e->live.seen[0] && e->live.seen[1] && owed > 0 && owed <= 1 << 30;
}

/* An entry of this node's, and other nodes may have it. */
static __always_inline bool is_busy(struct splice_entry *e, __u32 recent_ms)
{
	control_t c = control_read(e);

	return idle_ms(e, bpf_ktime_get_ns()) <= recent_ms && control_replicable(c) && !control_standby(c) &&
	       !control_finished(c) && (is_outstanding(e, 0) || is_outstanding(e, 1));
}

#define STILL_MS 50	/* so long without a packet, and nothing is on its way to the next one */

static __always_inline bool direction_may_stall(struct splice_entry *e, __u32 direction, bool still)
{
	return is_outstanding(e, direction) && (still || !e->live.bytes[direction]);
}

/*
 * A sender may wait for its timer: one end has not been heard since the flow changed hands, or something is
 * outstanding, and nothing of the sender's has ever passed here, or nothing at all passes now.
 */
static __always_inline bool may_stall(struct splice_entry *e, control_t c)
{
	bool still = idle_ms(e, bpf_ktime_get_ns()) >= STILL_MS;

	if (control_finished(c) || !control_replicable(c))
		return false;
	return seen_long_ago(e, c) || !e->live.seen[0] || !e->live.seen[1] || direction_may_stall(e, 0, still) ||
	       direction_may_stall(e, 1, still);
}

/* Bits of enum splice_look. What is outstanding is only told when both ends have been heard since. */
static __always_inline __u32 look_since(struct splice_entry *e, struct splice_live *since)
{
	__u32 look = 0;

	if (control_finished(control_read(e)))
		return SPLICE_LOOK_GONE;
	for (__u32 d = 0; d < 2; d++) {
		if (e->live.packets[d] != since->packets[d] && e->live.seen[d])
			look |= SPLICE_LOOK_HEARD0 << d;
		if (e->live.bytes[d] != since->bytes[d])
			look |= SPLICE_LOOK_MOVED0 << d;
	}
	if ((look & (SPLICE_LOOK_HEARD0 | SPLICE_LOOK_HEARD1)) != (SPLICE_LOOK_HEARD0 | SPLICE_LOOK_HEARD1))
		return look;
	for (__u32 d = 0; d < 2; d++) {
		if (is_outstanding(e, d))
			look |= SPLICE_LOOK_OWED0 << d;
		since->seen_end[d] = e->live.seen_end[d];
		since->seen_ack[d] = e->live.seen_ack[d];
	}
	return look;
}

#endif
