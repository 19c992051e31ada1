/* SPDX-License-Identifier: MIT */
/*
 * The content of a flow: eight bytes at a time from its key and their place, so that neither side keeps
 * a copy, and a byte that is lost, doubled or misplaced does not pass for the right one.
 */
#ifndef STREAM_H
#define STREAM_H

#include <stdint.h>
#include <string.h>

/* What the two directions of a flow differ by. */
#define TO_CLIENT 0x5851f42d4c957f2dull

static inline uint64_t stream_word(uint64_t key, uint64_t index)
{
	uint64_t x = (key + index) * 0x9e3779b97f4a7c15ull;

	return x ^ (x >> 32);
}

/* `n` bytes of the stream from place `at` on. */
static inline void stream_fill(uint64_t key, uint64_t at, uint8_t *to, uint64_t n)
{
	uint64_t word, skip, part;

	while (n > 0) {
		word = stream_word(key, at / 8);
		skip = at % 8;
		part = 8 - skip < n ? 8 - skip : n;
		memcpy(to, (uint8_t *)&word + skip, part);
		to += part;
		at += part;
		n -= part;
	}
}

/* How many of the `n` bytes are those of the stream, up to the first that is not. */
static inline uint64_t stream_check(uint64_t key, uint64_t at, const uint8_t *from, uint64_t n)
{
	uint64_t word, skip, part, done = 0;

	while (done < n) {
		word = stream_word(key, (at + done) / 8);
		skip = (at + done) % 8;
		part = 8 - skip < n - done ? 8 - skip : n - done;
		if (memcmp(from + done, (uint8_t *)&word + skip, part) != 0) {
			while (from[done] == ((uint8_t *)&word)[skip])
				done++, skip++;
			return done;
		}
		done += part;
	}
	return n;
}

#endif
