/* SPDX-License-Identifier: GPL-2.0-only */
/* What an entry learns from the segments that pass, and which RST and FIN it believes (RFC 5961). */
#ifndef SPLICE_TRACK_H
#define SPLICE_TRACK_H

#include "forward.h"

#define ACK_MISSED_MAX (16u << 20)	/* octets of a sender's that may have passed unseen */

/* The acknowledgement that the receiver of a direction last sent, in the sender's sequence space. */
static __always_inline __u32 receiver_next(struct splice_entry *e, __u32 direction)
{
	return e->live.seen_ack[1 - direction] - e->record.seq_d[direction];
}

/*
 * Once it has changed hands, a splice goes on by another node. What its ends sent and acknowledged before
 * says nothing any more: measured by that, whatever comes when it is back would be far outside the window.
 */
static __always_inline void forget_seen(struct splice_entry *e)
{
	e->live.seen[0] = e->live.seen[1] = 0;
}

/* No packet of it has come since this node took over. */
static __always_inline bool heard_before_takeover(struct splice_entry *e)
{
	struct splice_tunables *t = get_tunables();

	return t && t->taken_ns && (__s64)(e->live.last_seen_ns - t->taken_ns) < 0;
}

/* What was seen of an entry was seen before this node took over, while another one owned it. */
static __always_inline bool seen_long_ago(struct splice_entry *e, control_t c)
{
	return (control_standby(c) || e->live.unproven) && heard_before_takeover(e);
}

/* The first packet since a takeover: it teaches the numbers, and packets are counted from it on. */
static __always_inline void begin_anew(struct splice_entry *e)
{
	forget_seen(e);
	for (__u32 d = 0; d < 2; d++)
		e->live.packets[d] = e->live.bytes[d] = 0;
}

/*
 * The receiver has been heard since this node owns the entry. (What was advertised by a peer's
 * kernel is not replicated; after a takeover the first packets teach it again.)
 */
static __always_inline bool receiver_known(struct splice_entry *e, __u32 direction)
{
	return e->live.seen[1 - direction];
}

/* Inside what the receiver of this direction may accept, or old by less than 1 GB. */
static __always_inline bool in_window(struct splice_entry *e, __u32 direction, __u32 seq)
{
	__s32 ahead = seq - receiver_next(e, direction);

	if (!receiver_known(e, direction))
		return true;
	return ahead <= (__s32)e->live.seen_window[1 - direction] && ahead > -(1 << 30);
}

/*
 * Sent, as far as was seen, and not acknowledged: what an ICMP error may be about (RFC 5927 section 4.1).
 * Of an end that is not known yet, the other one must be near.
 */
static __always_inline bool under_way(struct splice_entry *e, __u32 direction, __u32 seq)
{
	__s32 ahead = seq - receiver_next(e, direction);
	__s32 behind = e->live.seen_end[direction] - seq;

	if (receiver_known(e, direction) && (ahead < 0 || ahead > 1 << 30))
		return false;
	return !e->live.seen[direction] || (behind >= 0 && behind <= 1 << 30);
}

enum rst_verdict { RST_REFUSED, RST_DOUBTFUL, RST_BELIEVED };

/*
 * The far end believes an RST only at exactly the next sequence number that it expects; it lies
 * between its last acknowledgement and the end of what was forwarded to it. Elsewhere in the window
 * it answers with a challenge, so the RST passes and changes nothing. Not inline: where the verifier of Linux 6.1
 * sees the constants it takes RST_BELIEVED for impossible, and removes what is done then.
 */
__noinline int judge_rst(struct splice_entry *e, __u32 direction, __u32 seq)
{
	__u32 next;

	if (!e)
		return RST_REFUSED;
	direction &= 1;
	next = receiver_next(e, direction);
	if (!receiver_known(e, direction))
		return RST_DOUBTFUL;
	if (!seq_before(seq, next) && e->live.seen[direction] &&
	    !seq_after(seq, e->live.seen_end[direction]))
		return RST_BELIEVED;
	if (seq == next)
		return RST_BELIEVED;
	return in_window(e, direction, seq) && !seq_before(seq, next) ? RST_DOUBTFUL : RST_REFUSED;
}

static __always_inline void learn(struct splice_entry *e, __u32 direction, struct packet *p)
{
	struct splice_live *l = &e->live;
	__u32 in = direction & 1;
	__u32 end = p->seq + p->payload + (p->flags & TCP_FIN ? 1 : 0);
	__u32 window = (__u32)p->window << (e->record.wscale_in[in] & 15);
	__s32 ahead = p->ack - l->seen_ack[in];

	if (!l->seen[in]) {
		l->seen_end[in] = end;
		l->seen_ack[in] = p->ack;
		l->seen_window[in] = window;
		l->seen[in] = 1;
		return;
	}
	if (seq_after(end, l->seen_end[in]))
		l->seen_end[in] = end;
	/*
	 * An acknowledgement of what nobody has sent is not to be believed (RFC 5961 section 5); but what was
	 * sent may have been missed, when two processors had a packet each, so one that is near is.
	 */
	if (l->seen[1 - in] && seq_after(p->ack - e->record.seq_d[1 - in], l->seen_end[1 - in]) &&
	    ahead > (__s32)(l->seen_window[in] + ACK_MISSED_MAX))
		return;
	if (ahead >= 0) {
		l->seen_ack[in] = p->ack;
		l->seen_window[in] = window;
	} else if (ahead + (__s32)window > (__s32)l->seen_window[in]) {
		/* of the proxy's own data, and still offering more than before */
		l->seen_window[in] = ahead + window;
	}
}

/*
 * Take what a segment says into the entry, now that nothing keeps it from its receiver: FINs and their
 * acknowledgements, that of the proxy's own data, sequence numbers, the time.
 */
static __noinline void take_in(struct splice_entry *e, __u32 direction, struct packet *p, __u64 now)
{
	struct splice_live *l = &e->live;
	__u32 in = direction & 1, back = 1 - in;
	control_t c = control_read(e);
	bool acceptable = in_window(e, in, p->seq);
	__u16 add = 0;

	if (p->flags & TCP_FIN) {
		/* where the FIN of a fragmented segment stands only its end knows */
		if (p->piece == PIECE_WHOLE) {
			l->fin_end[in] = p->seq + p->payload + 1;
			l->fin_known |= 1 << in;
		}
		add |= FIN_FLAG(in);
	}
	/* the acknowledgement of the other side's FIN, in that side's sequence space */
	if (acceptable && control_flags(c) & FIN_FLAG(back) &&
	    !(control_flags(c) & FINACK_FLAG(back)) && l->fin_known & (1 << back) &&
	    !seq_before(p->ack - e->record.seq_d[back], l->fin_end[back]))
		add |= FINACK_FLAG(back);
	if (control_flags(c) & OPEN_FLAG(in) && !seq_before(p->ack, l->own_end[in]))
		add |= ACKED_FLAG(in);
	if (add & ~control_flags(c))
		control_add_flags(e, add);
	if (acceptable)
		learn(e, in, p);
	touch(e, now);
}

#endif
