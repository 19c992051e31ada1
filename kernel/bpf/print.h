/* SPDX-License-Identifier: GPL-2.0-only */
/* Pieces of a line of the table as text. */
#ifndef SPLICE_PRINT_H
#define SPLICE_PRINT_H

#include <bpf/bpf_tracing.h>
#include "table.h"

static __always_inline void print_end(struct seq_file *out, const __u8 *ipv4, __be16 port)
{
	BPF_SEQ_PRINTF(out, "%02X%02X%02X%02X %04X ", ipv4[0], ipv4[1], ipv4[2], ipv4[3],
		       bpf_ntohs(port));
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
