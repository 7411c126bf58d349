/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Bytes for the tests of reads and writes: which they are follows from the
 * offset on the device and from a seed, they repeat at no size of page, and
 * none is 0.
 */
#ifndef RDAX_SELFTEST_BYTES_H
#define RDAX_SELFTEST_BYTES_H

#include <stdint.h>
#include <string.h>

#define BYTES_PERIOD	65521	/* a prime */

static inline const unsigned char *bytes_pool(void)
{
	static unsigned char pool[BYTES_PERIOD];
	uint64_t z = 1;

	for (int i = 0; !pool[BYTES_PERIOD - 1] && i < BYTES_PERIOD; i++) {
		z = z * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		pool[i] = (z >> 33) % 255 + 1;
	}
	return pool;
}

/* How many of len bytes at `offset` are one after the other in the pool, and where. */
static inline uint64_t bytes_run(uint64_t offset, uint64_t len, uint64_t seed,
				 const unsigned char **run)
{
	uint64_t at = (offset + seed * 10007) % BYTES_PERIOD;

	*run = bytes_pool() + at;
	return len < BYTES_PERIOD - at ? len : BYTES_PERIOD - at;
}

/* Into a buffer or a mapping whose first byte is `offset` on the device. */
static inline void bytes_make(void *to, uint64_t offset, uint64_t len, uint64_t seed)
{
	const unsigned char *run;
	uint64_t n;

	for (uint64_t done = 0; done < len; done += n) {
		n = bytes_run(offset + done, len - done, seed, &run);
		memcpy((char *)to + done, run, n);
	}
}

/* How many are right, up to the first wrong one. */
static inline uint64_t bytes_right(const void *from, uint64_t offset, uint64_t len,
				   uint64_t seed)
{
	const unsigned char *p = from, *run;
	uint64_t n;

	for (uint64_t done = 0; done < len; done += n) {
		n = bytes_run(offset + done, len - done, seed, &run);
		if (!memcmp(p + done, run, n))
			continue;
		while (p[done] == *run++)
			done++;
		return done;
	}
	return len;
}

/* How many are the same, up to the first that isn't. */
static inline uint64_t bytes_same(const void *a, const void *b, uint64_t len)
{
	uint64_t at = 0;

	if (!memcmp(a, b, len))
		return len;
	while (at < len && ((const char *)a)[at] == ((const char *)b)[at])
		at++;
	return at;
}

/* How many are 0, up to the first that isn't. */
static inline uint64_t bytes_zero(const void *from, uint64_t len)
{
	static const char zeroes[4096];
	uint64_t n, right;

	for (uint64_t done = 0; done < len; done += n) {
		n = len - done < sizeof(zeroes) ? len - done : sizeof(zeroes);
		right = bytes_same((const char *)from + done, zeroes, n);
		if (right < n)
			return done + right;
	}
	return len;
}

#endif /* RDAX_SELFTEST_BYTES_H */
