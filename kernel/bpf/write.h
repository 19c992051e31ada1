/* SPDX-License-Identifier: GPL-2.0-only */
/* Headers written back into a packet, with every checksum kept right. */
#ifndef SPLICE_WRITE_H
#define SPLICE_WRITE_H

#include "packet.h"

#define CUT_PIECE 64	/* octets summed at a time */

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* ~HC' = ~HC + ~m + m', RFC 1624 equation 3, for one 16-bit word. */
static __always_inline void mend(__sum16 *check, __be16 before, __be16 after)
{
	*check = ~fold((__u64)(__u16)~*check + (__u16)~before + after);
}

/* What bpf_csum_diff gives, of so many words, without a call; unrolled, the number being a constant. */
static __always_inline __s64 difference(const __be32 *before, const __be32 *after, int words)
{
	__u64 sum = 0;

	for (int i = 0; i < words; i++)
		sum += (__u64)(__u32)~before[i] + after[i];
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (__u32)((sum & 0xffffffff) + (sum >> 32));
}

/*
 * Write s->after over the TCP header and mend its checksum by difference (RFC 1624). pseudo is the
 * difference of the pseudo header (addresses, length), as bpf_csum_diff gives it. This way is right
 * whether the stack, the card or nobody has summed the segment yet, and for segments of any size.
 */
static __noinline int tcp_write(struct __sk_buff *skb, __u32 l4, __u32 header, __s64 pseudo)
{
	struct scratch *s = get_scratch();
	__s64 diff;

	if (!s)
		return -1;
	header = BOUND(header, 0x3c);
	if (header < 20)
		return -1;
	if (header == TCP_COMMON)
		diff = difference((__be32 *)s->before, (__be32 *)s->after, TCP_COMMON / 4);
	else
		diff = bpf_csum_diff((__be32 *)s->before, header, (__be32 *)s->after, header, 0);
	if (diff < 0 || bpf_skb_store_bytes(skb, l4, s->after, header, 0))
		return -1;
	if (bpf_l4_csum_replace(skb, l4 + 16, 0, diff, 0))
		return -1;
	return pseudo ? bpf_l4_csum_replace(skb, l4 + 16, 0, pseudo, BPF_F_PSEUDO_HDR) : 0;
}

/*
 * IP options concern the path of one leg: here they end, as NOPs (RFC 791), so that the header keeps
 * its length. p follows.
 */
static __noinline int blank_ip_options(struct __sk_buff *skb, struct packet *p)
{
	static const __u8 nops[64] = { [0 ... 63] = 1 };
	__u32 length = BOUND(p->ip.ihl * 4 - IPV4_HEADER - 4, 0x3c) + 4;	/* 6.12: never 0 */
	__u8 before[64];
	__s64 diff;

	if (bpf_skb_load_bytes(skb, ETH_HLEN + IPV4_HEADER, before, length))
		return -1;
	diff = bpf_csum_diff((__be32 *)before, length, (__be32 *)nops, length, 0);
	if (diff < 0 || bpf_skb_store_bytes(skb, ETH_HLEN + IPV4_HEADER, nops, length, 0))
		return -1;
	p->ip.check = ~fold((__u64)(__u16)~p->ip.check + (__u32)diff);
	count(SPLICE_CNT_IP_OPTIONS);
	return bpf_skb_store_bytes(skb, ETH_HLEN, &p->ip, sizeof(p->ip), 0);
}

/* What a packet's IP header becomes. */
struct ip_change {
	const __u8 *saddr;	/* 16 octets each */
	const __u8 *daddr;
	__u8 hops;
	__u8 tos;
};

static __always_inline int ipv4_change(struct __sk_buff *skb, const struct packet *p,
				       const struct ip_change *to, __s64 *pseudo)
{
	struct iphdr ip = p->ip;
	__be32 before[2] = { ip.saddr, ip.daddr };
	__be32 after[2] = { ipv4_of(to->saddr), ipv4_of(to->daddr) };
	__u64 sum;

	*pseudo = difference(before, after, 2);
	ip.saddr = after[0];
	ip.daddr = after[1];
	ip.ttl = to->hops;
	ip.tos = to->tos;
	sum = (__u16)~p->ip.check;
	sum += (__u64)(__u32)~before[0] + (__u32)~before[1] + after[0] + after[1];
	sum += (__u16)~bpf_htons((__u16)p->ip.ttl << 8) + bpf_htons((__u16)ip.ttl << 8);
	sum += (__u16)~bpf_htons(p->ip.tos) + bpf_htons(ip.tos);
	ip.check = ~fold(sum);
	return bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), 0);
}

static __always_inline void set_traffic_class(struct ipv6hdr *ip, __u8 tos)
{
	ip->priority = tos >> 4;
	ip->flow_lbl[0] = (ip->flow_lbl[0] & 0x0f) | tos << 4;
}

static __always_inline int ipv6_change(struct __sk_buff *skb, const struct packet *p,
				       const struct ip_change *to, __s64 *pseudo)
{
	struct ipv6hdr ip = p->ip6;

	__builtin_memcpy(&ip.saddr, to->saddr, 16);
	__builtin_memcpy(&ip.daddr, to->daddr, 16);
	*pseudo = bpf_csum_diff((__be32 *)&p->ip6.saddr, 32, (__be32 *)&ip.saddr, 32, 0);
	ip.hop_limit = to->hops;
	set_traffic_class(&ip, to->tos);
	return bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM);
}

/* A bare IPv4 header, its checksum included. length: of what follows it. */
static __always_inline void make_ipv4(struct iphdr *ip, const struct ip_change *to, __u8 protocol,
				      __u32 length)
{
	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 4;
	ip->ihl = 5;
	ip->tos = to->tos;
	ip->tot_len = bpf_htons(IPV4_HEADER + length > 65535 ? 0 : IPV4_HEADER + length);
	ip->frag_off = bpf_htons(IP_DF);
	ip->ttl = to->hops;
	ip->protocol = protocol;
	ip->saddr = ipv4_of(to->saddr);
	ip->daddr = ipv4_of(to->daddr);
	ip->check = ~fold(bpf_csum_diff(NULL, 0, (__be32 *)ip, sizeof(*ip), 0));
}

static __always_inline void make_ipv6(struct ipv6hdr *ip, const struct ip_change *to, __u8 protocol,
				      __u32 length)
{
	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 6;
	set_traffic_class(ip, to->tos);
	ip->payload_len = bpf_htons(length > 65535 ? 0 : length);
	ip->nexthdr = protocol;
	ip->hop_limit = to->hops;
	__builtin_memcpy(&ip->saddr, to->saddr, 16);
	__builtin_memcpy(&ip->daddr, to->daddr, 16);
}

/* From one family to the other (RFC 7915 for the fields); what TCP sums of the addresses changes. */
static __noinline int ip_exchange(struct __sk_buff *skb, struct packet *p,
				  const struct ip_change *to, __s64 *pseudo)
{
	__u32 length = p->header + p->payload;

	if (p->v6) {
		struct iphdr ip;
		__be32 after[2] = { ipv4_of(to->saddr), ipv4_of(to->daddr) };

		*pseudo = bpf_csum_diff((__be32 *)&p->ip6.saddr, 32, after, sizeof(after), 0);
		make_ipv4(&ip, to, IPPROTO_TCP, length);
		if (bpf_skb_change_proto(skb, bpf_htons(ETH_P_IP), 0))
			return -1;
		return bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM);
	} else {
		struct ipv6hdr ip;
		__be32 before[2] = { p->ip.saddr, p->ip.daddr };
		__s32 options = p->ip.ihl * 4 - IPV4_HEADER;

		if (options > 0) {
			if (bpf_skb_adjust_room(skb, -options, BPF_ADJ_ROOM_NET, BPF_F_ADJ_ROOM_FIXED_GSO))
				return -1;
			p->ip.ihl = 5;
			p->ip.tot_len = bpf_htons(bpf_ntohs(p->ip.tot_len) - options);
			p->ip.check = 0;
			p->ip.check = ~fold(bpf_csum_diff(NULL, 0, (__be32 *)&p->ip, sizeof(p->ip), 0));
			p->l4 -= options;
			count(SPLICE_CNT_IP_OPTIONS);
		}
		make_ipv6(&ip, to, IPPROTO_TCP, length);
		*pseudo = bpf_csum_diff(before, sizeof(before), (__be32 *)&ip.saddr, 32, 0);
		if (bpf_skb_change_proto(skb, bpf_htons(ETH_P_IPV6), 0))
			return -1;
		return bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM);
	}
}

/* The sum of the payload that goes, piece by piece. */
struct cut {
	struct __sk_buff *skb;
	__u32 at;
	__u32 end;
	__u32 sum;
};

static long cut_step(__u32 index, void *context)
{
	struct cut *c = context;
	__u8 piece[CUT_PIECE] = {};
	__u32 left = c->end - c->at;

	(void)index;
	if (c->at >= c->end)
		return 1;
	if (left >= sizeof(piece)) {
		if (bpf_skb_load_bytes(c->skb, c->at, piece, sizeof(piece)))
			return 1;
	} else {
		left = BOUND(left - 1, CUT_PIECE - 1) + 1;	/* 6.1: never 0 */
		if (bpf_skb_load_bytes(c->skb, c->at, piece, left))
			return 1;
	}
	c->sum = bpf_csum_diff((__be32 *)piece, sizeof(piece), NULL, 0, c->sum);
	c->at += sizeof(piece);
	return 0;
}

/*
 * Keep only so many octets (an even number) of a segment's payload, without its FIN and PSH; its lengths
 * and checksums are right afterwards, by differences. p and the scratch follow.
 */
static __noinline int cut_payload(struct __sk_buff *skb, struct packet *p, __u32 keep)
{
	struct scratch *s = get_scratch();
	struct cut c = { .skb = skb, .at = p->l4 + p->header + keep };
	__be16 before, after;
	int error;

	c.end = p->l4 + p->header + p->payload;
	bpf_loop(65536 / CUT_PIECE, cut_step, &c, 0);
	if (!s || c.at < c.end || bpf_skb_change_tail(skb, p->l4 + p->header + keep, 0))
		return -1;
	before = bpf_htons(p->header + p->payload);
	after = bpf_htons(p->header + keep);
	if (p->v6) {
		p->ip6.payload_len = bpf_htons(p->l4 + p->header + keep - ETH_HLEN - IPV6_HEADER);
		error = bpf_skb_store_bytes(skb, ETH_HLEN, &p->ip6, sizeof(p->ip6),
					    BPF_F_RECOMPUTE_CSUM);
	} else {
		__be16 total = p->ip.tot_len;

		p->ip.tot_len = bpf_htons(p->l4 + p->header + keep - ETH_HLEN);
		mend(&p->ip.check, total, p->ip.tot_len);
		error = bpf_skb_store_bytes(skb, ETH_HLEN, &p->ip, sizeof(p->ip), 0);
	}
	p->payload = keep;
	p->flags &= ~(TCP_FIN | TCP_PSH);
	if (error || bpf_l4_csum_replace(skb, p->l4 + 16, 0, c.sum, 0) ||
	    bpf_l4_csum_replace(skb, p->l4 + 16, before, after, BPF_F_PSEUDO_HDR | 2) ||
	    bpf_skb_load_bytes(skb, p->l4 + 16, s->before + 16, 2))
		return -1;
	*(__u16 *)(s->after + 16) = *(__u16 *)(s->before + 16);
	s->after[13] &= ~(TCP_FIN | TCP_PSH);
	return 0;
}

/* Put the packet's own headers back, after a copy of it was translated. */
static __noinline int write_back(struct __sk_buff *skb, struct packet *p)
{
	struct scratch *s = get_scratch();
	__u32 header = BOUND(p->header, 0x3c);
	int error;

	if (!s || header < 20)
		return -1;
	error = p->v6 ? bpf_skb_store_bytes(skb, ETH_HLEN, &p->ip6, sizeof(p->ip6), BPF_F_RECOMPUTE_CSUM)
		      : bpf_skb_store_bytes(skb, ETH_HLEN, &p->ip, sizeof(p->ip), BPF_F_RECOMPUTE_CSUM);
	return error ? error : bpf_skb_store_bytes(skb, p->l4, s->before, header, BPF_F_RECOMPUTE_CSUM);
}

#endif
