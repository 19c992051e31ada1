/* SPDX-License-Identifier: GPL-2.0-only */
/* Packets that the local stack sends on a tuple that is, or is about to be, spliced. */
#ifndef SPLICE_EGRESS_H
#define SPLICE_EGRESS_H

#include "track.h"

/* Our own SYN to a real server: take SACK-permitted out, so that both legs agree. */
static __always_inline int strip_sack_permitted(struct __sk_buff *skb, struct packet *p,
						struct scratch *s)
{
	s->options.edit = EDIT_SACKOK_REMOVE;
	options_edit(s, p);
	return tcp_write(skb, p->l4, p->header, 0) ? TC_ACT_SHOT : TC_ACT_OK;
}

/* Held: nothing may acknowledge more than the proxy had taken when the hold began. */
static __always_inline int hold_leg(struct __sk_buff *skb, struct packet *p, struct scratch *s,
				    struct splice_entry *e, __u32 leg)
{
	__u32 base = e->record.base[leg & 1];

	if (p->flags & (TCP_RST | TCP_SYN) || !seq_after(p->ack, base))
		return TC_ACT_OK;
	if (!p->payload && !(p->flags & TCP_FIN)) {
		count(SPLICE_CNT_HOLD_ACK);
		return TC_ACT_SHOT;
	}
	set_ack(s, base);
	return tcp_write(skb, p->l4, p->header, 0) ? TC_ACT_SHOT : TC_ACT_OK;
}

/*
 * The proxy's own data on its way out while packets are translated beside it: it acknowledges
 * exactly what the proxy has read, never closes the connection, and its timestamps must not lie
 * behind those of translated segments, or the far end takes it for a duplicate (PAWS, RFC 7323).
 */
static __always_inline int own_data(struct __sk_buff *skb, struct packet *p, struct scratch *s,
				    struct splice_entry *e, __u32 leg)
{
	if (p->flags & TCP_RST) {
		count(SPLICE_CNT_LOCAL_RST);
		return TC_ACT_SHOT;
	}
	if (p->flags & TCP_FIN) {
		count(SPLICE_CNT_LOCAL_FIN);
		if (!p->payload)
			return TC_ACT_SHOT;
		s->after[13] &= ~TCP_FIN;
	}
	if (seq_after(p->ack, e->record.base[leg & 1]))
		set_ack(s, e->record.base[leg & 1]);
	s->options.edit = EDIT_TS_RAISE;
	s->options.tsval_d = e->live.ts_sent[leg & 1];
	options_edit(s, p);
	return tcp_write(skb, p->l4, p->header, 0) ? TC_ACT_SHOT : TC_ACT_OK;
}

static __always_inline int handle_local(struct __sk_buff *skb, struct packet *p, struct scratch *s,
					struct splice_entry *e, __u32 leg)
{
	control_t c = control_read(e);

	if (control_state(c, leg) == SPLICE_CLOSE && !control_torn(c))
		return TC_ACT_OK;
	if (control_state(c, leg) == SPLICE_ESTABLISHED)
		return hold_leg(skb, p, s, e, leg);
	if (control_flags(c) & OPEN_FLAG(leg))
		return own_data(skb, p, s, e, leg);
	/* no local socket speaks for a spliced leg: this is the stack's answer to a stray packet */
	count(p->flags & TCP_RST ? SPLICE_CNT_LOCAL_RST : SPLICE_CNT_LOCAL_STRAY);
	return TC_ACT_SHOT;
}

#endif
