/* SPDX-License-Identifier: GPL-2.0-only */
/* Packets that the local stack sends on a tuple that is, or is about to be, spliced. */
#ifndef SPLICE_EGRESS_H
#define SPLICE_EGRESS_H

#include "track.h"
#include "fence.h"

/* Held: nothing may acknowledge more than the proxy had taken when the hold began. */
static __always_inline int hold_leg(struct __sk_buff *skb, struct packet *p, struct scratch *s,
				    struct splice_entry *e, __u32 leg)
{
	__u32 base = e->record.base[leg & 1];

	if (p->flags & TCP_SYN || !seq_after(p->ack, base))
		return TC_ACT_OK;
	if (!p->payload && !(p->flags & TCP_FIN)) {
		count(SPLICE_CNT_HOLD_ACK);
		return TC_ACT_SHOT;
	}
	set_ack(s, base);
	return tcp_write(skb, p->l4, p->header, 0) ? TC_ACT_SHOT : TC_ACT_OK;
}

/*
 * A proxy closes a leg's socket only after it has given the entry back (ABORT), or after the leg is
 * committed. A FIN of the stack before that means that the proxy has died and the kernel closes for it.
 * What it still had to say is in the socket's queue, which the stack goes on emptying: if that is all that
 * it owed, the leg is committed here as soon as it is acknowledged (the FIN comes again until then); if
 * not, bytes have died with it, and both ends are told. Returns false when the entry is gone.
 */
static __noinline bool proxy_died(struct packet *p, struct splice_entry *e,
				  const struct splice_leg_ref *ref)
{
	__u32 leg = ref->leg & 1;

	if (seq_before(p->seq + p->payload, e->live.own_end[leg])) {
		count(SPLICE_CNT_ABORTED);
		entry_remove(e, ref->slot, ref->id, true);
		return false;
	}
	for (int i = 0; i < 8; i++) {
		control_t c = control_read(e);

		if (!(control_flags(c) & ACKED_FLAG(leg)) ||
		    control_change(e, c, control_next(c, control_flags(c) & ~OPEN_FLAG(leg))))
			break;
	}
	return true;
}

/*
 * The proxy's own data on its way out while packets are translated beside it. It acknowledges, and offers
 * the window, as the last translated segment did: what it acknowledged itself may be too old by now to be
 * believed (RFC 5961 section 5). It never closes the connection. And its timestamps must not lie behind
 * those of translated segments, or the far end takes it for a duplicate (PAWS, RFC 7323).
 */
static __always_inline int own_data(struct __sk_buff *skb, struct packet *p, struct scratch *s,
				    struct splice_entry *e, const struct splice_leg_ref *ref)
{
	__u32 leg = ref->leg & 1, window;

	if (p->flags & TCP_RST) {
		count(SPLICE_CNT_LOCAL_RST);
		return TC_ACT_SHOT;
	}
	if (p->flags & TCP_FIN) {
		if (!proxy_died(p, e, ref))
			return fence_out(skb);
		count(SPLICE_CNT_LOCAL_FIN);
		if (!p->payload)
			return TC_ACT_SHOT;
		s->after[13] &= ~TCP_FIN;
	}
	set_ack(s, e->live.seen_ack[1 - leg] - e->record.seq_d[leg]);
	window = e->live.seen_window[1 - leg] >> (e->record.wscale_out[leg] & 15);
	set_window(s, window > 65535 ? 65535 : window);
	s->options.edit = EDIT_TS_RAISE;
	s->options.tsval_d = e->live.ts_sent[leg];
	options_edit(s, p);
	return tcp_write(skb, p->l4, p->header, 0) ? TC_ACT_SHOT : TC_ACT_OK;
}

static __always_inline int handle_local(struct __sk_buff *skb, struct packet *p, struct scratch *s,
					struct splice_entry *e, const struct splice_leg_ref *ref)
{
	control_t c = control_read(e);
	__u32 leg = ref->leg & 1;
	__u8 state = control_state(c, leg);

	if (state < SPLICE_PRE_SPLICED && !control_torn(c)) {
		if (p->flags & (TCP_FIN | TCP_RST)) {
			/* reserved or held, and the proxy has died: nothing is lost by leaving it to the stack */
			count(SPLICE_CNT_ABORTED);
			entry_remove(e, ref->slot, ref->id, true);
			return fence_out(skb);
		}
		if (fence_out(skb) != TC_ACT_OK)
			return TC_ACT_SHOT;
		return state == SPLICE_ESTABLISHED ? hold_leg(skb, p, s, e, leg) : TC_ACT_OK;
	}
	if (control_flags(c) & OPEN_FLAG(leg))
		return own_data(skb, p, s, e, ref);
	/* no local socket speaks for a spliced leg: this is the stack's answer to a stray packet */
	count(p->flags & TCP_RST ? SPLICE_CNT_LOCAL_RST : SPLICE_CNT_LOCAL_STRAY);
	return TC_ACT_SHOT;
}

#endif
