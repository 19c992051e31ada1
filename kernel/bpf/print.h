/* SPDX-License-Identifier: GPL-2.0-only */
/* The table as text: the columns of the old /proc/net/tcp_splice_conn, then ours (record/text.ts). */
#ifndef SPLICE_PRINT_H
#define SPLICE_PRINT_H

#include <bpf/bpf_tracing.h>
#include "table.h"

/* 8 hexadecimal digits for IPv4, 32 for IPv6, in the order of the packet. */
static __always_inline void print_end(struct seq_file *out, const __u8 *address, __be16 port)
{
	const __be32 *word = (const __be32 *)address;

	if (word[0] || word[1] || word[2] != bpf_htonl(0xffff))
		BPF_SEQ_PRINTF(out, "%08X%08X%08X", bpf_ntohl(word[0]), bpf_ntohl(word[1]),
			       bpf_ntohl(word[2]));
	BPF_SEQ_PRINTF(out, "%08X %04X ", bpf_ntohl(word[3]), bpf_ntohs(port));
}

/* The older state of the two legs, as the old table showed one state per connection. */
static __always_inline void print_state(struct seq_file *out, struct splice_entry *e)
{
	__u8 s0 = e->record.state[0], s1 = e->record.state[1];

	switch (s0 < s1 ? s0 : s1) {
	case SPLICE_CLOSE:
		BPF_SEQ_PRINTF(out, "CLOSE      ");
		return;
	case SPLICE_ESTABLISHED:
		BPF_SEQ_PRINTF(out, "ESTABLISHED");
		return;
	case SPLICE_PRE_SPLICED:
		BPF_SEQ_PRINTF(out, "PRE_SPLICED");
		return;
	case SPLICE_SPLICED:
		BPF_SEQ_PRINTF(out, "SPLICED    ");
		return;
	case SPLICE_FIN_RELAYED:
		BPF_SEQ_PRINTF(out, "FIN_RELAYED");
		return;
	case SPLICE_SHUTDOWN:
		BPF_SEQ_PRINTF(out, "SHUTDOWN   ");
		return;
	default:
		BPF_SEQ_PRINTF(out, "TIMEWAIT   ");
	}
}

static __always_inline void print_head(struct seq_file *out)
{
	BPF_SEQ_PRINTF(out, "FromIP   FPrt ToIP     TPrt LocalIP  LPrt DestIP   DPrt "
			    "State       Expires Origin   Owner    Epoch Gen Id "
			    "OrigPkts OrigBytes ReplyPkts ReplyBytes\n");
}

static __always_inline void print_entry(struct seq_file *out, struct splice_entry *e)
{
	struct splice_record *r = &e->record;
	struct splice_live *l = &e->live;
	struct splice_record times;

	render_times(&times, e, bpf_ktime_get_ns());
	print_end(out, r->tuple[0].saddr, r->tuple[0].sport);
	print_end(out, r->tuple[0].daddr, r->tuple[0].dport);
	print_end(out, r->tuple[1].daddr, r->tuple[1].dport);
	print_end(out, r->tuple[1].saddr, r->tuple[1].sport);
	print_state(out, e);
	BPF_SEQ_PRINTF(out, " %7u %08x %08x %5u %3u %llu", times.remaining_ms / 1000, r->origin,
		       r->owner, r->epoch, r->generation, r->id);
	BPF_SEQ_PRINTF(out, " %8llu %9llu %9llu %10llu\n", l->packets[0], l->bytes[0], l->packets[1],
		       l->bytes[1]);
}

#endif
