/* SPDX-License-Identifier: GPL-2.0-only */
/* Pieces of a line of the table as text. */
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

#endif
