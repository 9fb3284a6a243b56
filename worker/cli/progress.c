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
	uint64_t spent = now - p->start_ms + 1, items = p->bytes ? p->items : p->done;
	uint64_t done = p->done - p->first; /* of this run */
	uint64_t left = done ? (uint64_t)((double)(p->total - p->done) * (double)spent /
					  (double)done / 1000)
			     : 0;
	int bar = (int)((double)p->done * WIDTH / (double)p->total);

	if (p->bytes && p->total == p->done && p->total == 1) /* its size is not known */
		fprintf(stderr, "\r%llu %s, %llu/s ", (unsigned long long)items, p->what,
			(unsigned long long)(items * 1000 / spent));
	else
		fprintf(stderr, "\r[%.*s%.*s] %3u%%  %llu %s, %llu/s, %llu s left ", bar, full,
			WIDTH - bar, none, (unsigned)((double)p->done * 100 / (double)p->total),
			(unsigned long long)items, p->what,
			(unsigned long long)(items * 1000 / spent), (unsigned long long)left);
}

static void redraw(struct progress *p)
{
	uint64_t now = clock_mono_ms();

	if (p->on && now - p->shown_ms >= REDRAW_MS) {
		p->shown_ms = now;
		draw(p, now);
	}
}

void progress_add(struct progress *p, uint64_t n)
{
	p->done = p->done + n < p->total ? p->done + n : p->total;
	redraw(p);
}

void progress_to(struct progress *p, uint64_t bytes, uint64_t items)
{
	bool first = !p->bytes;

	p->bytes = true;
	p->items = items;
	p->done = bytes < p->total ? bytes : p->total;
	if (first)
		p->first = p->done;
	redraw(p);
}

void progress_end(struct progress *p)
{
	uint64_t spent = clock_mono_ms() - p->start_ms + 1;
	if (p->on)
		fprintf(stderr, "\r\033[K");
	fprintf(stderr, "%llu %s in %.1f s\n", (unsigned long long)(p->bytes ? p->items : p->done),
		p->what, (double)spent / 1000);
}
