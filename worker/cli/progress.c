/* See progress.h: bar, count, rate and the time that is left. */
#include "worker/cli/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "shm/base/clock.h"

enum { WIDTH = 30, REDRAW_MS = 100 };

void progress_start(struct progress *p, const char *what, uint64_t total)
{
	*p = (struct progress){.what = what,
		.total = total ? total : 1,
		.start_ms = clock_mono_ms(),
		.on = isatty(STDERR_FILENO) != 0};
}

static void draw(struct progress *p, uint64_t now)
{
	static const char full[] = "##############################";
	static const char none[] = "..............................";
	uint64_t spent = now - p->start_ms + 1;
	uint64_t rate = p->done * 1000 / spent;
	uint64_t left = rate ? (p->total - p->done) / rate : 0;
	int bar = (int)(p->done * WIDTH / p->total);
	fprintf(stderr, "\r[%.*s%.*s] %3u%%  %llu %s, %llu/s, %llu s left ", bar, full, WIDTH - bar,
		none, (unsigned)(p->done * 100 / p->total), (unsigned long long)p->done, p->what,
		(unsigned long long)rate, (unsigned long long)left);
}

void progress_add(struct progress *p, uint64_t n)
{
	uint64_t now = clock_mono_ms();
	p->done = p->done + n < p->total ? p->done + n : p->total;
	if (p->on && now - p->shown_ms >= REDRAW_MS) {
		p->shown_ms = now;
		draw(p, now);
	}
}

void progress_end(struct progress *p)
{
	uint64_t spent = clock_mono_ms() - p->start_ms + 1;
	if (p->on)
		fprintf(stderr, "\r\033[K");
	fprintf(stderr, "%llu %s in %.1f s\n", (unsigned long long)p->done, p->what,
		(double)spent / 1000);
}
