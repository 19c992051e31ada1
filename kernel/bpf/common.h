/* SPDX-License-Identifier: GPL-2.0-only */
/* What every part of the datapath includes: kernel types, helpers, the shared record, constants. */
#ifndef SPLICE_COMMON_H
#define SPLICE_COMMON_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_core_read.h>
#include "record.h"

#define TC_ACT_OK 0
#define TC_ACT_SHOT 2
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define ETH_HLEN 14
#define PACKET_HOST 0
#define PACKET_OTHERHOST 3
#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_HOPOPTS 0
#define IPPROTO_FRAGMENT 44
#define IPPROTO_ICMPV6 58
#define IPPROTO_DSTOPTS 60
#define VLAN_ID 0x0fff
#define IP_DF 0x4000
#define IP_MF 0x2000
#define IP_OFFSET 0x1fff
#define IPV4_HEADER 20
#define IPV6_HEADER 40
#define ECN_MASK 3	/* of TOS or traffic class; RFC 3168 section 5 */
#define ECN_CE 3
#define TCP_STATE_ESTABLISHED 1
#define TCP_STATE_CLOSE 7
#define TCP_STATE_LISTEN 10

#define NS_PER_MS 1000000ull
#define FULL_ERRNO 28		/* ENOSPC */
#define ERRNO_NOENT 2
#define ERRNO_AGAIN 11
#define ERRNO_BUSY 16
#define ERRNO_EXIST 17
#define ERRNO_INVAL 22
#define ERRNO_OPNOTSUPP 95
#define ERRNO_CONNRESET 104
#define ERRNO_NOTCONN 107

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_AE 0x01	/* in the octet before the flags */
#define TCP_ECE 0x40
#define TCP_CWR 0x80

/* Keep a value that fits a small power of two inside it, in a way that the verifier follows. */
#define BOUND(value, mask)                                                                         \
	({                                                                                         \
		__u32 bounded = (value);                                                           \
		asm volatile("%0 &= %1" : "+r"(bounded) : "i"(mask));                              \
		bounded;                                                                           \
	})

/* Sequence space comparisons (RFC 9293 section 3.4), modulo 2^32. */
static __always_inline bool seq_before(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

static __always_inline bool seq_after(__u32 a, __u32 b)
{
	return (__s32)(b - a) < 0;
}

#endif
