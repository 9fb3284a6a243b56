/*
 * The real master with a worker that does what PUGD_TEST_FAKE says, so that
 * supervision is tested without a database. Words, separated by commas:
 *   refuse        exit 78 at once          die         crash before READY
 *   mute          never READY              stuck       ignore DRAIN
 *   slow=MS       wait before READY        bind        answer HTTP-like on the socket
 * A keeper only ever becomes READY. The file named by PUGD_TEST_FAKE_FILE, when
 * it exists, replaces the variable: that is how a running master gets new words.
 * Signals for the test: SIGUSR1 hangs the loop, SIGUSR2 panics inside a call.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/socket.h>

#include "master/main.c" /* the lib is linked without it */
#include "shm/base/clock.h"
#include "shm/segment.h"

struct fake {
	struct segment *seg;
	struct slot *slot;
	int slot_no, listen_count;
	char words[256];
};

static volatile sig_atomic_t wanted;

static void on_signal(int sig)
{
	wanted = sig;
}

static void read_words(struct fake *f)
{
	const char *path = getenv("PUGD_TEST_FAKE_FILE"), *words = getenv("PUGD_TEST_FAKE");
	FILE *in = path ? fopen(path, "r") : NULL;

	snprintf(f->words, sizeof(f->words), "%s", words ? words : "");
	if (!in)
		return;
	if (!fgets(f->words, sizeof(f->words), in))
		f->words[0] = '\0';
	fclose(in);
}

static bool has(const struct fake *f, const char *word)
{
	return strstr(f->words, word) != NULL;
}

/* A call that kills its worker: what the master must name afterwards. */
static _Noreturn void panic_in_call(struct fake *f)
{
	struct crumb *k = &f->slot->crumbs[0];

	k->step = 7;
	k->method = 12;
	k->principal = 1;
	k->body = 2;
	k->start_ms = clock_mono_ms();
	snprintf(k->call_id, sizeof(k->call_id), "call-0001");
	snprintf(k->method_name, sizeof(k->method_name), "/fake.v1.Fake/Crash");
	atomic_store(&k->busy, 1);
	snprintf(f->slot->panic, sizeof(f->slot->panic), "must: \"fake\"\nline two");
	atomic_store(&f->slot->panic_set, 1);
	signal(SIGABRT, SIG_DFL);
	abort();
}

static void answer(int listen_fd, const struct fake *f)
{
	int fd = accept(listen_fd, NULL, NULL);
	char text[128];

	if (fd < 0)
		return;
	if (recv(fd, text, sizeof(text), 0) > 0) {
		int n = snprintf(text, sizeof(text),
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
			"X-Pid: %d\r\nConnection: close\r\n\r\nok",
			(int)getpid());
		(void)!send(fd, text, (size_t)n, MSG_NOSIGNAL);
	}
	stat_call(f->seg, f->slot_no,
		(unsigned)segment_method_index(f->seg, "/fake.v1.Fake/Answer"), 0, 300);
	shutdown(fd, SHUT_WR);
	close(fd);
}

/* 0: go on; else leave with code - 1. */
static int on_message(const struct fake *f)
{
	struct message msg;
	ssize_t n = recv(FD_CONTROL, &msg, sizeof(msg), MSG_DONTWAIT);

	if (n < 0)
		return 0;
	if (n == 0)
		return 1;
	if (msg.type == MESSAGE_DRAIN && has(f, "stuck"))
		return 0;
	return 1;
}

static void send_ready(void)
{
	struct message msg = {.version = MESSAGE_VERSION, .type = MESSAGE_READY};

	(void)!send(FD_CONTROL, &msg, sizeof(msg), MSG_NOSIGNAL);
}

static void one_turn(struct fake *f)
{
	struct pollfd p[1 + LISTEN_MAX] = {{.fd = FD_CONTROL, .events = POLLIN}};

	for (int i = 0; i < f->listen_count; i++)
		p[1 + i] = (struct pollfd){.fd = FD_LISTEN + i, .events = POLLIN};
	if (poll(p, (nfds_t)(1 + f->listen_count), 50) <= 0)
		return;
	for (int i = 0; i < f->listen_count; i++)
		if (p[1 + i].revents)
			answer(FD_LISTEN + i, f);
}

static int serve(struct fake *f)
{
	int code;

	for (;;) {
		atomic_store(&f->slot->heartbeat_ms, clock_mono_ms());
		one_turn(f);
		code = on_message(f);
		if (code > 0)
			return code - 1;
		if (wanted == SIGTERM && !has(f, "stuck"))
			return 0;
		if (wanted == SIGUSR2)
			panic_in_call(f);
		while (wanted == SIGUSR1)
			pause();
	}
}

/* 1 when the visitors' memory is where the map says. */
static int has_visitors(const struct fake *f)
{
	const char *number = getenv("PUGD_VISITORS_FD");

	return number && atoi(number) == FD_LISTEN + f->listen_count;
}

int worker_main(int argc, char **argv)
{
	static const int caught[] = {SIGTERM, SIGUSR1, SIGUSR2};
	bool keeper = argc > 1 && strcmp(argv[1], "--keeper") == 0;
	const char *count = getenv("PUGD_LISTEN_COUNT"), *ms;
	struct fake f = {.slot_no = argc > 2 ? atoi(argv[2]) : 0};
	struct stat st;

	read_words(&f);
	for (size_t i = 0; i < sizeof(caught) / sizeof(caught[0]); i++)
		signal(caught[i], on_signal);
	f.listen_count = count ? atoi(count) : 0;
	f.seg = segment_map(FD_SEGMENT);
	if (!f.seg || fstat(FD_OPTIONS, &st) != 0 || st.st_size != sizeof(struct options))
		return 3;
	/* A descriptor beyond the map would be a leak from the master. */
	if (fcntl(FD_LISTEN + f.listen_count + has_visitors(&f), F_GETFD) >= 0)
		return 4;
	f.slot = segment_slot(f.seg, f.slot_no);
	if (keeper) {
		send_ready();
		f.words[0] = '\0';
		return serve(&f);
	}
	if (has(&f, "refuse"))
		return EXIT_HOPELESS;
	if (has(&f, "die"))
		abort();
	ms = strstr(f.words, "slow=");
	if (ms)
		poll(NULL, 0, atoi(ms + 5));
	if (!has(&f, "mute"))
		send_ready();
	return serve(&f);
}

int worker_cli(const char *command, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return strcmp(command, "migrate") == 0 || strcmp(command, "check") == 0 ? 0 : -1;
}
