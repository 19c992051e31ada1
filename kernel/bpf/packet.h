/* SPDX-License-Identifier: GPL-2.0-only */
/* One TCP segment: read from the packet, and written back with its checksums kept right. */
#ifndef SPLICE_PACKET_H
#define SPLICE_PACKET_H

#include "maps.h"

/*
 * TCP header (RFC 9293 section 3.1), offsets as used below:
 *
 *  0 source port | 2 destination port | 4 sequence | 8 acknowledgement
 * 12 data offset | 13 flags | 14 window | 16 checksum | 18 urgent pointer | 20 options
 */
struct packet {
	struct splice_tuple tuple;	/* as the packet has it, or turned round (outgoing) */
	struct iphdr ip;
	__u32 l4;		/* offset of the TCP header */
	__u32 header;		/* its length with options */
	__u32 payload;
	__u32 seq;
	__u32 ack;
	__u16 window;		/* as in the header, unscaled */
	__u8 flags;
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

/* One TCP header before and after; the tail is room for the verifier's idea of option offsets. */
struct scratch {
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

enum parsed { PARSED_TCP, PARSED_OTHER, PARSED_MALFORMED };

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

static __always_inline __be32 load32(const __u8 *p)
{
	return *(const __be32 *)p;
}

static __always_inline void store32(__u8 *p, __be32 value)
{
	*(__be32 *)p = value;
}

/*
 * Read the headers into p and s->before; s->after starts as a copy. Fragments and other protocols
 * are PARSED_OTHER: they go up the stack. outgoing turns the tuple round, so that it finds the leg.
 */
static __always_inline enum parsed packet_read(struct __sk_buff *skb, struct packet *p,
					       struct scratch *s, bool outgoing)
{
	__u32 ip_header, total, options;

	if (skb->protocol != bpf_htons(ETH_P_IP))
		return PARSED_OTHER;
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &p->ip, sizeof(p->ip)))
		return PARSED_OTHER;
	if (p->ip.version != 4 || p->ip.protocol != IPPROTO_TCP ||
	    p->ip.frag_off & bpf_htons(0x3fff))
		return PARSED_OTHER;
	ip_header = p->ip.ihl * 4;
	if (ip_header < sizeof(p->ip))
		return PARSED_MALFORMED;
	total = bpf_ntohs(p->ip.tot_len);
	if (!total)		/* longer than 64 KB (BIG TCP) */
		total = skb->len - ETH_HLEN;
	if (total > skb->len - ETH_HLEN)
		return PARSED_MALFORMED;
	p->l4 = ETH_HLEN + ip_header;
	if (bpf_skb_load_bytes(skb, p->l4, s->before, 20))
		return PARSED_MALFORMED;
	p->header = (s->before[12] >> 4) * 4;
	if (p->header < 20 || ip_header + p->header > total)
		return PARSED_MALFORMED;
	options = p->header - 20;
	if (options) {
		options = BOUND(options, 0x3f);
		if (options > 40 || !options ||
		    bpf_skb_load_bytes(skb, p->l4 + 20, s->before + 20, options))
			return PARSED_MALFORMED;
	}
	__builtin_memcpy(s->after, s->before, sizeof(s->before));
	p->payload = total - ip_header - p->header;
	p->seq = bpf_ntohl(load32(s->before + 4));
	p->ack = bpf_ntohl(load32(s->before + 8));
	p->flags = s->before[13];
	p->window = bpf_ntohs(*(__be16 *)(s->before + 14));
	map_ipv4(outgoing ? p->tuple.daddr : p->tuple.saddr, p->ip.saddr);
	map_ipv4(outgoing ? p->tuple.saddr : p->tuple.daddr, p->ip.daddr);
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
	diff = bpf_csum_diff((__be32 *)s->before, header, (__be32 *)s->after, header, 0);
	if (diff < 0 || bpf_skb_store_bytes(skb, l4, s->after, header, 0))
		return -1;
	if (bpf_l4_csum_replace(skb, l4 + 16, 0, diff, 0))
		return -1;
	return bpf_l4_csum_replace(skb, l4 + 16, 0, pseudo, BPF_F_PSEUDO_HDR);
}

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Write p's IP header with these changes over the packet's; *pseudo gets what TCP's sum must know. */
static __always_inline int ip_write(struct __sk_buff *skb, const struct packet *p, __be32 saddr,
				    __be32 daddr, __u8 ttl, __s64 *pseudo)
{
	struct iphdr ip = p->ip;
	__be32 before[2] = { p->ip.saddr, p->ip.daddr };
	__be32 after[2] = { saddr, daddr };
	__u64 sum;

	*pseudo = bpf_csum_diff(before, sizeof(before), after, sizeof(after), 0);
	ip.saddr = saddr;
	ip.daddr = daddr;
	ip.ttl = ttl;
	/* ~HC' = ~HC + ~m + m', RFC 1624 equation 3, over the words that changed */
	sum = (__u16)~p->ip.check;
	sum += (__u64)(__u32)~before[0] + (__u32)~before[1] + after[0] + after[1];
	sum += (__u16)~bpf_htons((__u16)p->ip.ttl << 8) + bpf_htons((__u16)ttl << 8);
	ip.check = ~fold(sum);
	return bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), 0);
}

/*
 * Cut the packet to bare headers and write s->after as a segment without payload that the local stack
 * will accept: checksums computed afresh, since nobody knows the payload's share. Marks and addresses
 * are the packet's own.
 */
static __noinline int write_bare(struct __sk_buff *skb, struct packet *p)
{
	struct scratch *s = get_scratch();
	struct iphdr ip = p->ip;
	__u32 header = BOUND(p->header, 0x3c);
	__s64 sum;
	struct {
		__be32 saddr, daddr;
		__u8 zero, protocol;
		__be16 length;
	} pseudo = {};

	if (!s || header < 20)
		return -1;
	if (p->payload && bpf_skb_change_tail(skb, p->l4 + header, 0))
		return -1;
	pseudo.saddr = ip.saddr;
	pseudo.daddr = ip.daddr;
	pseudo.protocol = IPPROTO_TCP;
	pseudo.length = bpf_htons(header);
	*(__u16 *)(s->after + 16) = 0;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&pseudo, sizeof(pseudo), 0);
	if (sum < 0)
		return -1;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)s->after, header, sum);
	if (sum < 0)
		return -1;
	*(__u16 *)(s->after + 16) = ~fold(sum);
	/* the IP header may have been rewritten for a forwarded copy: all of it is put back */
	ip.tot_len = bpf_htons(p->l4 - ETH_HLEN + header);
	sum = (__u16)~p->ip.check + (__u64)(__u16)~p->ip.tot_len + ip.tot_len;
	ip.check = ~fold(sum);
	if (bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM))
		return -1;
	return bpf_skb_store_bytes(skb, p->l4, s->after, header, BPF_F_RECOMPUTE_CSUM);
}

#endif
