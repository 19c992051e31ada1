/* SPDX-License-Identifier: GPL-2.0-only */
/* One packet, read: its IP headers and, if it is a TCP segment, that one's. */
#ifndef SPLICE_PACKET_H
#define SPLICE_PACKET_H

#include "maps.h"

#define EXTENSIONS_MAX 4

/* Which part of a fragmented datagram it is. */
enum piece { PIECE_WHOLE, PIECE_FIRST, PIECE_LATER };

/*
 * TCP header (RFC 9293 section 3.1), offsets as used below:
 *
 *  0 source port | 2 destination port | 4 sequence | 8 acknowledgement
 * 12 data offset | 13 flags | 14 window | 16 checksum | 18 urgent pointer | 20 options
 */
struct packet {
	struct splice_tuple tuple;	/* as the packet has it, or turned round (outgoing) */
	union {
		struct iphdr ip;
		struct ipv6hdr ip6;
	};
	__u32 l4;		/* offset of what follows IP */
	__u32 end;		/* offset of the IP packet's end; Ethernet may pad */
	__u32 header;		/* length of the TCP header with options */
	__u32 payload;
	__u32 seq;
	__u32 ack;
	__u32 fragment;		/* identification, of pieces */
	__u32 gso;		/* payload of each segment of a bundle, or 0 */
	__u16 window;		/* as in the header, unscaled */
	__u8 flags;
	__u8 v6;
	__u8 hops;		/* TTL or hop limit */
	__u8 tos;		/* or traffic class */
	__u8 piece;		/* enum piece */
	__u8 read;		/* octets of the TCP header that came with the IP header */
};

/* What a walk over the options is to do, and what it found; see options.h. */
struct options {
	__u32 position;
	__u32 end;
	__u32 edit;
	__u32 tsval_d;
	__u32 tsecr_d;
	__u32 sack_d;
	__u32 tsval;		/* out: TSval after the edit */
	__u8 has_tsval;		/* out */
	__u8 malformed;		/* out: an option of length 0 or 1, or one past the header's end */
};

/*
 * What one packet's way through the programs needs: more than fits their stacks, and in map memory the
 * verifier does not follow each value. before and after hold a TCP header; the tail of after is room for
 * the verifier's idea of option offsets, and for a message of our own.
 */
struct scratch {
	struct packet packet;
	struct splice_leg_ref leg;	/* that the packet was found on */
	__u64 now;		/* bpf_ktime_get_ns: when its way was looked up */
	struct bpf_fib_lookup fib;
	__u8 before[64];
	__u8 after[128];
	struct options options;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

enum parsed { PARSED_TCP, PARSED_ICMP, PARSED_LATER, PARSED_OTHER, PARSED_MALFORMED };

static __always_inline struct scratch *get_scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}

static __always_inline void map_ipv4(__u8 *to, __be32 address)
{
	__builtin_memset(to, 0, 10);
	to[10] = to[11] = 0xff;
	*(__be32 *)(to + 12) = address;
}

static __always_inline __be32 ipv4_of(const __u8 *mapped)
{
	return *(const __be32 *)(mapped + 12);
}

static __always_inline bool is_ipv4(const __u8 *address)
{
	const __be32 *words = (const __be32 *)address;

	return !words[0] && !words[1] && words[2] == bpf_htonl(0xffff);
}

static __always_inline __be32 load32(const __u8 *p)
{
	return *(const __be32 *)p;
}

static __always_inline void store32(__u8 *p, __be32 value)
{
	*(__be32 *)p = value;
}

/*
 * The headers of most packets lie in one piece and can be read in place, which is cheaper than a helper's
 * copy. (Writing in place is not: it has every packet un-cloned before the program begins.)
 */
#define TCP_COMMON 32	/* octets of the most common TCP header, with timestamps */

static __always_inline enum parsed read_ipv4(struct __sk_buff *skb, struct packet *p, __u8 *tcp,
					     bool outgoing)
{
	void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;
	__u32 total, offset;

	p->read = 0;
	if (data + ETH_HLEN + IPV4_HEADER + TCP_COMMON <= data_end) {
		__builtin_memcpy(&p->ip, data + ETH_HLEN, IPV4_HEADER);
		if (p->ip.ihl == 5) {
			__builtin_memcpy(tcp, data + ETH_HLEN + IPV4_HEADER, TCP_COMMON);
			p->read = TCP_COMMON;
		}
	} else if (bpf_skb_load_bytes(skb, ETH_HLEN, &p->ip, sizeof(p->ip))) {
		return PARSED_OTHER;
	}
	if (p->ip.version != 4)
		return PARSED_OTHER;
	if (p->ip.protocol != IPPROTO_TCP && p->ip.protocol != IPPROTO_ICMP)
		return PARSED_OTHER;
	if (p->ip.ihl < 5)
		return PARSED_MALFORMED;
	total = bpf_ntohs(p->ip.tot_len);
	if (!total && skb->len > ETH_HLEN + 65535)	/* BIG TCP */
		total = skb->len - ETH_HLEN;
	if (total > skb->len - ETH_HLEN || total < p->ip.ihl * 4)
		return PARSED_MALFORMED;
	p->end = ETH_HLEN + total;
	p->v6 = 0;
	p->l4 = ETH_HLEN + p->ip.ihl * 4;
	p->hops = p->ip.ttl;
	p->tos = p->ip.tos;
	map_ipv4(outgoing ? p->tuple.daddr : p->tuple.saddr, p->ip.saddr);
	map_ipv4(outgoing ? p->tuple.saddr : p->tuple.daddr, p->ip.daddr);
	offset = bpf_ntohs(p->ip.frag_off);
	p->fragment = p->ip.id;
	p->piece = offset & IP_OFFSET ? PIECE_LATER : offset & IP_MF ? PIECE_FIRST : PIECE_WHOLE;
	if (p->ip.protocol == IPPROTO_ICMP)
		return p->piece == PIECE_WHOLE ? PARSED_ICMP : PARSED_OTHER;
	return PARSED_TCP;
}

/*
 * Extension headers that say something to the hops or to the receiver (RFC 8200) may stand before TCP;
 * one that steers the packet elsewhere may not: such a packet is the stack's.
 */
static __always_inline enum parsed read_ipv6(struct __sk_buff *skb, struct packet *p, __u8 *tcp,
					     bool outgoing)
{
	void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;
	__u8 extension[8], next;

	p->read = 0;
	if (data + ETH_HLEN + IPV6_HEADER + TCP_COMMON <= data_end) {
		__builtin_memcpy(&p->ip6, data + ETH_HLEN, IPV6_HEADER);
		if (p->ip6.nexthdr == IPPROTO_TCP) {
			__builtin_memcpy(tcp, data + ETH_HLEN + IPV6_HEADER, TCP_COMMON);
			p->read = TCP_COMMON;
		}
	} else if (bpf_skb_load_bytes(skb, ETH_HLEN, &p->ip6, sizeof(p->ip6))) {
		return PARSED_OTHER;
	}
	if (p->ip6.version != 6)
		return PARSED_OTHER;
	p->end = ETH_HLEN + IPV6_HEADER + bpf_ntohs(p->ip6.payload_len);
	if (!p->ip6.payload_len && skb->len > ETH_HLEN + IPV6_HEADER + 65535)	/* BIG TCP */
		p->end = skb->len;
	if (p->end > skb->len)
		return PARSED_MALFORMED;
	p->v6 = 1;
	p->l4 = ETH_HLEN + IPV6_HEADER;
	p->hops = p->ip6.hop_limit;
	p->tos = p->ip6.priority << 4 | p->ip6.flow_lbl[0] >> 4;
	__builtin_memcpy(outgoing ? p->tuple.daddr : p->tuple.saddr, &p->ip6.saddr, 16);
	__builtin_memcpy(outgoing ? p->tuple.saddr : p->tuple.daddr, &p->ip6.daddr, 16);
	p->piece = PIECE_WHOLE;
	next = p->ip6.nexthdr;
	for (int i = 0; i <= EXTENSIONS_MAX; i++) {
		if (next == IPPROTO_TCP)
			return PARSED_TCP;
		if (next == IPPROTO_ICMPV6)
			return p->piece == PIECE_WHOLE ? PARSED_ICMP : PARSED_OTHER;
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_DSTOPTS && next != IPPROTO_FRAGMENT)
			return PARSED_OTHER;
		if (p->l4 + 8 > p->end || bpf_skb_load_bytes(skb, p->l4, extension, sizeof(extension)))
			return PARSED_MALFORMED;
		if (next == IPPROTO_FRAGMENT) {
			__u16 offset = extension[2] << 8 | extension[3];

			p->fragment = load32(extension + 4);
			if (offset & 0xfff8)
				p->piece = PIECE_LATER;
			else if (offset & 1)
				p->piece = PIECE_FIRST;
			p->l4 += 8;
			if (p->piece == PIECE_LATER)
				return extension[0] == IPPROTO_TCP ? PARSED_TCP : PARSED_OTHER;
		} else {
			p->l4 += (extension[1] + 1) * 8;
		}
		next = extension[0];
	}
	return PARSED_OTHER;
}

/*
 * Read the headers into p and s->before; s->after starts as a copy. Other protocols are PARSED_OTHER:
 * they go up the stack. outgoing turns the tuple round, so that it finds the leg. Of PARSED_LATER,
 * a fragment without a TCP header, only the addresses are read, and of PARSED_ICMP the IP header.
 */
static __always_inline enum parsed packet_read(struct __sk_buff *skb, struct packet *p,
					       struct scratch *s, bool outgoing)
{
	enum parsed parsed = PARSED_OTHER;
	__u32 options;

	if (skb->protocol == bpf_htons(ETH_P_IP))
		parsed = read_ipv4(skb, p, s->before, outgoing);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		parsed = read_ipv6(skb, p, s->before, outgoing);
	if (parsed != PARSED_TCP)
		return parsed;
	if (p->piece == PIECE_LATER)
		return PARSED_LATER;
	if (p->l4 + 20 > p->end || (!p->read && bpf_skb_load_bytes(skb, p->l4, s->before, 20)))
		return p->piece == PIECE_FIRST ? PARSED_OTHER : PARSED_MALFORMED;
	p->header = (s->before[12] >> 4) * 4;
	if (p->header < 20 || p->l4 + p->header > p->end)
		return p->piece == PIECE_FIRST ? PARSED_OTHER : PARSED_MALFORMED;
	options = p->header - 20;
	if (p->header > 20 && p->header > p->read) {
		options = BOUND(options - 1, 0x3f) + 1;	/* verifiers before 6.13: never 0 */
		if (bpf_skb_load_bytes(skb, p->l4 + 20, s->before + 20, options))
			return PARSED_MALFORMED;
	}
	__builtin_memcpy(s->after, s->before, sizeof(s->before));
	p->payload = p->end - p->l4 - p->header;
	p->gso = skb->gso_size;
	p->seq = bpf_ntohl(load32(s->before + 4));
	p->ack = bpf_ntohl(load32(s->before + 8));
	p->flags = s->before[13];
	p->window = bpf_ntohs(*(__be16 *)(s->before + 14));
	*(outgoing ? &p->tuple.dport : &p->tuple.sport) = *(__be16 *)(s->before + 0);
	*(outgoing ? &p->tuple.sport : &p->tuple.dport) = *(__be16 *)(s->before + 2);
	return PARSED_TCP;
}

static __always_inline void set_seq(struct scratch *s, __u32 seq)
{
	store32(s->after + 4, bpf_htonl(seq));
}

static __always_inline void set_ack(struct scratch *s, __u32 ack)
{
	store32(s->after + 8, bpf_htonl(ack));
}

static __always_inline void set_window(struct scratch *s, __u32 window)
{
	*(__be16 *)(s->after + 14) = bpf_htons(window);
}

#endif
