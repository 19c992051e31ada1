/* SPDX-License-Identifier: GPL-2.0-only */
/* Packets that come in: the guard, the hold, the splice. */
#ifndef SPLICE_INGRESS_H
#define SPLICE_INGRESS_H

#include "track.h"

/*
 * A packet for a virtual address that belongs to no splice. While this node is about to take over,
 * the stack would answer the live flows that are still to be committed by RST: such packets are held
 * back (dropped; TCP sends them again). What belongs to a socket passes, and so do SYNs to listening
 * ports; during a planned hand-over SYNs are dropped instead, and come again to the next owner.
 */
static __noinline int guard_verdict(struct __sk_buff *skb, struct packet *p)
{
	struct splice_tunables *t = get_tunables();
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	bool opening = (p->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
	__u32 state = 0;

	if (!t || (!t->guard_until_ns && !t->draining))
		return TC_ACT_OK;
	if (!bpf_map_lookup_elem(&guard, p->tuple.daddr))
		return TC_ACT_OK;
	if (t->draining && opening) {
		count(SPLICE_CNT_DRAIN_SYN);
		return TC_ACT_SHOT;
	}
	if (bpf_ktime_get_ns() > t->guard_until_ns)
		return TC_ACT_OK;
	tuple.ipv4.saddr = p->ip.saddr;
	tuple.ipv4.daddr = p->ip.daddr;
	tuple.ipv4.sport = p->tuple.sport;
	tuple.ipv4.dport = p->tuple.dport;
	sk = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	if (sk) {
		state = sk->state;
		bpf_sk_release(sk);
	}
	if (state && (state != TCP_STATE_LISTEN || opening))
		return TC_ACT_OK;
	count(SPLICE_CNT_GUARD_HELD);
	return TC_ACT_SHOT;
}

/*
 * A SYN on a live entry is never translated, and it must not vanish for good: its sender is asked by
 * a keep-alive (RFC 9293 section 3.8.4) whether the old connection still exists. A live end answers
 * by an ACK, and traffic restores the timeout; one that has forgotten the connection answers by RST,
 * or not at all. Either way the entry goes and the SYN's next copy passes.
 */
static __always_inline int probe_sender(struct __sk_buff *skb, struct packet *p,
					struct splice_entry *e, __u32 leg)
{
	struct splice_tunables *t = get_tunables();
	struct scratch *s = get_scratch();
	__u32 in = leg & 1, mine, theirs;
	__s64 pseudo;
	__u8 mac[12];

	if (!t || !s)
		return TC_ACT_SHOT;
	count(SPLICE_CNT_SYN_PROBED);
	shorten(e, bpf_ktime_get_ns(), t->timeout_ms[SPLICE_TIMEOUT_PROBE]);
	if (p->payload)
		return TC_ACT_SHOT;
	theirs = e->live.seen[in] ? e->live.seen_end[in] : e->record.base[in];
	mine = e->live.seen[in] ? e->live.seen_ack[in]
				: e->record.base[1 - in] + e->record.seq_d[1 - in];
	*(__be16 *)(s->after + 0) = p->tuple.dport;
	*(__be16 *)(s->after + 2) = p->tuple.sport;
	set_seq(s, mine - 1);
	set_ack(s, theirs);
	s->after[13] = TCP_ACK;
	__builtin_memset(s->after + 20, OPT_NOP, 40);
	if (bpf_skb_load_bytes(skb, 0, mac, 12) || bpf_skb_store_bytes(skb, 0, mac + 6, 6, 0) ||
	    bpf_skb_store_bytes(skb, 6, mac, 6, 0) ||
	    ip_write(skb, p, p->ip.daddr, p->ip.saddr, 64, &pseudo) ||
	    tcp_write(skb, p->l4, p->header, pseudo)) {
		count(SPLICE_CNT_DROP_STORE);
		return TC_ACT_SHOT;
	}
	skb->mark = t->mark;
	return bpf_redirect(skb->ifindex, 0);
}

static __always_inline int syn_on_entry(struct __sk_buff *skb, struct packet *p,
					struct splice_entry *e, struct splice_leg_ref *ref,
					control_t c)
{
	if (!control_finished(c))
		return probe_sender(skb, p, e, ref->leg);
	if (p->flags & TCP_ACK)
		return TC_ACT_SHOT;
	count(SPLICE_CNT_SYN_REUSED);
	entry_remove(e, ref->slot, ref->id, true);
	return guard_verdict(skb, p);
}

/*
 * Hand the local socket a segment without payload that carries the news for it: the acknowledgement,
 * up to the end of its own data. Its sequence number must be the one that the socket expects next, or
 * the socket drops the news with the segment.
 */
static __always_inline int local_copy(struct __sk_buff *skb, struct packet *p,
				      struct splice_entry *e, __u32 leg)
{
	struct scratch *s = get_scratch();
	__u32 in = leg & 1, end = e->live.own_end[in];

	if (!s)
		return TC_ACT_SHOT;
	__builtin_memcpy(s->after, s->before, sizeof(s->before));
	set_seq(s, e->live.local_next[in]);
	if (seq_after(p->ack, end))
		set_ack(s, end);
	s->after[13] = TCP_ACK;
	*(__be16 *)(s->after + 18) = 0;
	if (write_bare(skb, p)) {
		count(SPLICE_CNT_DROP_STORE);
		return TC_ACT_SHOT;
	}
	count(SPLICE_CNT_LOCAL_COPY);
	return TC_ACT_OK;
}

/*
 * Data that the proxy has read already, sent again because the hold kept its acknowledgement back.
 * It must not be forwarded while the other end may still miss the proxy's own copy of it; the local
 * socket, which has it, answers with the acknowledgement that is missing.
 */
static __always_inline int old_data(struct __sk_buff *skb, struct packet *p, struct splice_entry *e,
				    __u32 leg, bool owes_ack)
{
	struct scratch *s = get_scratch();
	__u32 in = leg & 1;

	count(SPLICE_CNT_OLD_DATA);
	if (owes_ack && !seq_before(p->ack, e->live.own_end[in]))
		return local_copy(skb, p, e, in);
	if (!s || seq_after(p->seq + p->payload, e->live.local_next[in]) || p->flags & TCP_FIN)
		return local_copy(skb, p, e, in);
	if (seq_after(p->ack, e->live.own_end[in])) {
		set_ack(s, e->live.own_end[in]);
		if (tcp_write(skb, p->l4, p->header, 0))
			return TC_ACT_SHOT;
	}
	return TC_ACT_OK;
}

/* A leg whose local socket is still open (PRE_SPLICED): what is for the socket, and what passes. */
static __always_inline int splice_open_leg(struct __sk_buff *skb, struct packet *p,
					   struct splice_entry *e, __u32 leg, control_t c)
{
	__u32 in = leg & 1;
	bool acked = !seq_before(p->ack, e->live.own_end[in]);
	bool was_acked = control_flags(c) & ACKED_FLAG(in);
	bool carries = p->payload || p->flags & (TCP_FIN | TCP_RST);
	bool told = e->live.copied & (1 << in);

	if (carries && seq_before(p->seq, e->record.base[in]) && !(p->flags & TCP_RST) &&
	    !(control_flags(c) & ACKED_FLAG(1 - in)))
		return old_data(skb, p, e, in, !told);
	if (acked && !was_acked)
		control_add_flags(e, ACKED_FLAG(in));
	if (told)
		return forward(skb, p, e, in, acked ? 0 : FORWARD_CLAMP);
	if (carries || acked) {
		if (forward_copy(skb, p, e, in, acked ? 0 : FORWARD_CLAMP))
			return forward(skb, p, e, in, acked ? 0 : FORWARD_CLAMP);
	}
	if (acked)
		e->live.copied |= 1 << in;
	return local_copy(skb, p, e, in);
}

static __always_inline int handle_rst(struct __sk_buff *skb, struct packet *p,
				      struct splice_entry *e, __u32 leg, control_t c)
{
	struct splice_tunables *t = get_tunables();
	enum rst_verdict verdict = judge_rst(e, leg, p->seq);

	if (verdict == RST_REFUSED || !t) {
		count(SPLICE_CNT_RST_REFUSED);
		return TC_ACT_SHOT;
	}
	if (verdict == RST_BELIEVED && !control_finished(c)) {
		control_change(e, c, control_make((__u32)c + 1, control_flags(c) & ~FLAGS_OPEN,
						  SPLICE_CLOSE, SPLICE_CLOSE));
	} else if (!receiver_known(e, leg)) {
		shorten(e, bpf_ktime_get_ns(), t->timeout_ms[SPLICE_TIMEOUT_PROBE]);
	}
	count(SPLICE_CNT_RST_RELAYED);
	return forward(skb, p, e, leg, 0);
}

static __always_inline int handle_hit(struct __sk_buff *skb, struct packet *p,
				      struct splice_entry *e, struct splice_leg_ref *ref)
{
	__u32 leg = ref->leg & 1;
	control_t c = control_read(e);
	__u8 state = control_state(c, leg);

	if (state == SPLICE_CLOSE && !control_torn(c))
		return TC_ACT_OK;	/* reserved: the sockets are still shaking hands */
	if (state == SPLICE_ESTABLISHED) {
		if (!(p->flags & TCP_FIN))
			return TC_ACT_OK;
		/* a FIN now would close the socket before the splice takes over; it comes again */
		count(SPLICE_CNT_HOLD_FIN);
		return TC_ACT_SHOT;
	}
	if (p->flags & TCP_SYN)
		return syn_on_entry(skb, p, e, ref, c);
	if (p->ip.ttl <= 1) {
		count(SPLICE_CNT_DROP_TTL);
		return TC_ACT_SHOT;
	}
	if (p->flags & TCP_RST)
		return handle_rst(skb, p, e, leg, c);
	if (!(p->flags & TCP_ACK)) {
		count(SPLICE_CNT_DROP_MALFORMED);
		return TC_ACT_SHOT;
	}
	if (!follow_close(e, leg, p, c))
		return TC_ACT_SHOT;
	if (in_window(e, leg, p->seq))
		learn(e, leg, p);
	touch(e, bpf_ktime_get_ns());
	if (control_flags(c) & OPEN_FLAG(leg))
		return splice_open_leg(skb, p, e, leg, c);
	return forward(skb, p, e, leg, 0);
}

#endif
