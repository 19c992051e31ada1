/* SPDX-License-Identifier: GPL-2.0-only */
/* Packets that this node says itself: a TCP segment without payload, and ICMP errors. */
#ifndef SPLICE_ANSWER_H
#define SPLICE_ANSWER_H

#include "write.h"

#define OWN_HOPS 64
#define ICMP_HEADER 8
#define TCP_HEADER 20
#define ICMP_BURST 50
#define ICMP_GAP_NS NS_PER_MS	/* 1,000 a second */
#define QUOTED_IP_MAX 124	/* octets of IP headers in an error; IPv6 extensions may be longer */

/* What goes wrong with a packet, in either family's words (RFC 792, RFC 4443). */
enum icmp_error { ICMP_NO_ERROR, ICMP_TOO_BIG, ICMP_NO_ROUTE, ICMP_NO_HOST, ICMP_TTL };

/* An ICMP error, and the segment that it quotes. Ports in network order. */
struct icmp_message {
	struct splice_tuple quoted;	/* source and destination of that segment */
	__u32 seq;
	__u32 length;		/* of that segment's IP packet */
	__u32 mtu;
	__u8 error;		/* enum icmp_error */
};

/* Back to whoever delivered the packet, by the interface that it came in on. */
static __noinline int send_back(struct __sk_buff *skb)
{
	struct splice_tunables *t = get_tunables();
	__u8 mac[12];

	if (!t || bpf_skb_load_bytes(skb, 0, mac, 12) ||
	    bpf_skb_store_bytes(skb, 0, mac + 6, 6, 0) || bpf_skb_store_bytes(skb, 6, mac, 6, 0)) {
		count(SPLICE_CNT_DROP_STORE);
		return TC_ACT_SHOT;
	}
	skb->mark = t->mark;
	return bpf_redirect(skb->ifindex, 0);
}

/*
 * Make of a segment the answer to it: turned round, without payload, its options blanked. Every change
 * goes into the checksum as a difference. Returns the verdict.
 */
static __noinline int answer_segment(struct __sk_buff *skb, struct packet *p, __u32 seq, __u32 ack,
				     __u32 flags)
{
	struct scratch *s = get_scratch();
	struct ip_change to = { p->tuple.daddr, p->tuple.saddr, OWN_HOPS, p->tos };
	__s64 same;	/* the addresses' sum, turned round */

	if (!s)
		return TC_ACT_SHOT;
	if ((p->payload && cut_payload(skb, p, 0)) ||
	    (!p->v6 && p->ip.ihl > 5 && blank_ip_options(skb, p)))
		goto fail;
	*(__be16 *)(s->after + 0) = p->tuple.dport;
	*(__be16 *)(s->after + 2) = p->tuple.sport;
	set_seq(s, seq);
	set_ack(s, ack);
	s->after[12] &= 0xf0;	/* nothing in the reserved bits */
	s->after[13] = flags;
	set_window(s, 0);
	*(__be16 *)(s->after + 18) = 0;
	__builtin_memset(s->after + 20, 1, 40);	/* NOP */
	if (p->v6 ? ipv6_change(skb, p, &to, &same) : ipv4_change(skb, p, &to, &same))
		goto fail;
	if (tcp_write(skb, p->l4, p->header, 0))
		goto fail;
	return send_back(skb);
fail:
	count(SPLICE_CNT_DROP_STORE);
	return TC_ACT_SHOT;
}

/*
 * How many errors a node says is limited (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4): a bucket
 * that fills by one a millisecond, kept as the time at which it would be full again. Read and written
 * without a lock: a race lets one more pass.
 */
static __u64 icmp_full_at_ns;

static __always_inline bool icmp_allowed(void)
{
	__u64 now = bpf_ktime_get_ns(), full = icmp_full_at_ns;

	if (full < now)
		full = now;
	if (full - now >= ICMP_BURST * ICMP_GAP_NS) {
		count(SPLICE_CNT_ICMP_LIMITED);
		return false;
	}
	icmp_full_at_ns = full + ICMP_GAP_NS;
	return true;
}

/* Type, code and the word that follows the checksum. */
static __always_inline void icmp_head(__u8 *icmp, bool v6, __u32 error, __u32 mtu)
{
	switch (error) {
	case ICMP_TOO_BIG:
		icmp[0] = v6 ? 2 : 3;
		icmp[1] = v6 ? 0 : 4;
		store32(icmp + 4, bpf_htonl(mtu));
		return;
	case ICMP_TTL:
		icmp[0] = v6 ? 3 : 11;
		return;
	case ICMP_NO_HOST:
		icmp[0] = v6 ? 1 : 3;
		icmp[1] = v6 ? 3 : 1;
		return;
	default:		/* ICMP_NO_ROUTE */
		icmp[0] = v6 ? 1 : 3;
	}
}

static __always_inline void make_ip(__u8 *at, bool v6, const struct ip_change *to, __u8 protocol,
				    __u32 length)
{
	if (v6)
		make_ipv6((struct ipv6hdr *)at, to, protocol, length);
	else
		make_ipv4((struct iphdr *)at, to, protocol, length);
}

/*
 * The checksum field of a quoted TCP header. A card or the stack may still be about to complete the
 * checksum of the segment that an error was made of, at a place that only the kernel knows, and would
 * spoil the error's own. Of what stands there, c' = ~(rest + c) is made; c = -rest / 2 (mod 65535) is the
 * value that stays. Nobody reads it.
 */
static __always_inline __u16 quoted_checksum(__u16 rest)
{
	rest = ~rest;
	return rest >> 1 | rest << 15;
}

/*
 * Finish an error whose head stands in s->after, for a quote that sums up to this: lengths, addresses of
 * the pseudo header (ICMPv6), checksum. length: of ICMP's header and the quote.
 */
static __always_inline void icmp_finish(struct scratch *s, bool v6, __u32 length, __s64 quote)
{
	__u8 *icmp = s->after + (v6 ? IPV6_HEADER : IPV4_HEADER);
	__s64 sum = quote;

	if (v6) {
		sum = bpf_csum_diff(NULL, 0, (__be32 *)(s->after + 8), 32, sum);
		sum += (__u32)bpf_htons(IPPROTO_ICMPV6) + bpf_htons(length);
		sum = fold(sum);
		sum = bpf_csum_diff(NULL, 0, (__be32 *)(s->after + IPV6_HEADER), ICMP_HEADER, sum);
	} else {
		sum = bpf_csum_diff(NULL, 0, (__be32 *)(s->after + IPV4_HEADER), ICMP_HEADER, sum);
	}
	*(__u16 *)(icmp + 2) = ~fold(sum);
}

/*
 * Make of a segment an ICMP error about it, for its sender: the segment stays where it is, cut to TCP's
 * bare header, and gets the error's headers in front. Returns the verdict.
 */
static __noinline int answer_error(struct __sk_buff *skb, struct packet *p, __u32 error, __u32 mtu)
{
	struct scratch *s = get_scratch();
	struct ip_change to = { p->tuple.daddr, p->tuple.saddr, OWN_HOPS, 0 };
	__u32 ip = p->v6 ? IPV6_HEADER : IPV4_HEADER;
	__u32 quoted = BOUND(p->l4 - ETH_HLEN, 0x7c), length;
	__u16 check;
	__s64 sum;

	if (!s || p->l4 - ETH_HLEN > QUOTED_IP_MAX || quoted < IPV4_HEADER || !icmp_allowed())
		return TC_ACT_SHOT;
	if (bpf_skb_load_bytes(skb, ETH_HLEN, s->after, quoted))
		goto fail;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)s->after, quoted, 0);
	*(__u16 *)(s->before + 16) = 0;
	check = quoted_checksum(fold(bpf_csum_diff(NULL, 0, (__be32 *)s->before, TCP_HEADER, 0)));
	*(__u16 *)(s->before + 16) = check;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)s->before, TCP_HEADER, fold(sum));

	length = ICMP_HEADER + quoted + TCP_HEADER;
	__builtin_memset(s->after, 0, IPV6_HEADER + ICMP_HEADER);
	make_ip(s->after, p->v6, &to, p->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP, length);
	icmp_head(s->after + ip, p->v6, error, mtu);
	icmp_finish(s, p->v6, length, fold(sum));
	if (bpf_skb_store_bytes(skb, p->l4 + 16, &check, 2, 0) ||
	    bpf_skb_change_tail(skb, p->l4 + TCP_HEADER, 0))
		goto fail;
	if (p->v6 ? bpf_skb_adjust_room(skb, IPV6_HEADER + ICMP_HEADER, BPF_ADJ_ROOM_MAC, 0) ||
			    bpf_skb_store_bytes(skb, ETH_HLEN, s->after, IPV6_HEADER + ICMP_HEADER, 0)
		  : bpf_skb_adjust_room(skb, IPV4_HEADER + ICMP_HEADER, BPF_ADJ_ROOM_MAC, 0) ||
			    bpf_skb_store_bytes(skb, ETH_HLEN, s->after, IPV4_HEADER + ICMP_HEADER, 0))
		goto fail;
	count(error == ICMP_TTL ? SPLICE_CNT_ICMP_TTL : SPLICE_CNT_ICMP_TOO_BIG);
	return send_back(skb);
fail:
	count(SPLICE_CNT_DROP_STORE);
	return TC_ACT_SHOT;
}

/* Octets of an error made by icmp_make, from IP on. */
static __always_inline __u32 icmp_length(bool v6)
{
	return ICMP_HEADER + TCP_HEADER + (v6 ? 2 * IPV6_HEADER : 2 * IPV4_HEADER);
}

/* Write into s->after an error about a segment that is not at hand: with bare headers of it. */
static __noinline int icmp_make(const struct icmp_message *m, __u32 v6)
{
	struct scratch *s = get_scratch();
	struct ip_change outer, inner;
	__u32 ip = v6 ? IPV6_HEADER : IPV4_HEADER;
	__u8 *quoted, *tcp;
	__s64 sum;

	if (!s || !m)
		return -1;
	/* to the source of the segment, from where that wanted to go */
	outer.saddr = inner.daddr = m->quoted.daddr;
	outer.daddr = inner.saddr = m->quoted.saddr;
	outer.hops = inner.hops = OWN_HOPS;
	outer.tos = inner.tos = 0;
	__builtin_memset(s->after, 0, sizeof(s->after));
	make_ip(s->after, v6, &outer, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP, icmp_length(v6) - ip);
	icmp_head(s->after + ip, v6, m->error, m->mtu);
	quoted = s->after + ip + ICMP_HEADER;
	make_ip(quoted, v6, &inner, IPPROTO_TCP, m->length - ip);
	tcp = quoted + ip;
	*(__be16 *)(tcp + 0) = m->quoted.sport;
	*(__be16 *)(tcp + 2) = m->quoted.dport;
	store32(tcp + 4, bpf_htonl(m->seq));
	tcp[12] = TCP_HEADER / 4 << 4;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)tcp, TCP_HEADER, 0);
	*(__u16 *)(tcp + 16) = quoted_checksum(fold(sum));
	sum = v6 ? bpf_csum_diff(NULL, 0, (__be32 *)quoted, IPV6_HEADER + TCP_HEADER, 0)
		 : bpf_csum_diff(NULL, 0, (__be32 *)quoted, IPV4_HEADER + TCP_HEADER, 0);
	icmp_finish(s, v6, icmp_length(v6) - ip, fold(sum));
	return 0;
}

static __always_inline int icmp_store(struct __sk_buff *skb, bool v6)
{
	struct scratch *s = get_scratch();

	if (!s)
		return -1;
	return v6 ? bpf_skb_store_bytes(skb, ETH_HLEN, s->after,
					2 * IPV6_HEADER + ICMP_HEADER + TCP_HEADER, 0)
		  : bpf_skb_store_bytes(skb, ETH_HLEN, s->after,
					2 * IPV4_HEADER + ICMP_HEADER + TCP_HEADER, 0);
}

#endif
