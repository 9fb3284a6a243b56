/*
 * Password hashing off the loop. The cost of a wrong e-mail equals that of a
 * wrong password: a stand-in hash of the same kind is computed (D5).
 */
#include "worker/rpc/password.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/message.h"
#include "worker/offload.h"
#include "worker/pace.h"
#include "worker/worker.h"

/* yescrypt with libxcrypt's default cost, of no password that anybody knows. */
static const char stand_in[] =
	"$y$j9T$3Jq7vNc1rT8kD0mWZ5xYb.$vG2nW0cQpXy1rLk8sT4uE6iO3aH7jF9dM5bK2zN1xV/";

struct job {
	int lane; /* see turn(); -1: a command, which has the host for itself */
	const char *password;
	char setting[CRYPT_OUTPUT_SIZE];
	bool make_salt;
	bool ok;
	char out[CRYPT_OUTPUT_SIZE];
};

/*
 * Passwords are hashed one at a time for every two CPUs of the host, whatever the number
 * of workers: priorities do not cross the groups that the kernel shares CPUs among
 * (services, sessions), so hashing on all of them would hold PostgreSQL up, and with it
 * every event (D40). worker/pace.h lets others in where one does. The turn is a record lock
 * on the segment, which belongs to a process and ends with it: nothing is left to repair
 * after a kill.
 */
static void turn(int lane, short what)
{
	struct flock lock = {.l_type = what, .l_whence = SEEK_SET, .l_start = lane, .l_len = 1};

	while (lane >= 0 && fcntl(FD_SEGMENT, F_SETLKW, &lock) < 0 && errno == EINTR)
		;
}

static int lane_of(const struct worker *w)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return w->slot_no % (int)(cpus > 3 ? cpus / 2 : 1);
}

static const char *hash_paced(const char *password, const char *setting, struct crypt_data *data)
{
	struct pace pace;
	const char *hash;

	pace_begin(&pace);
	hash = crypt_r(password, setting, data);
	pace_end(&pace);
	return hash;
}

static void work(void *arg)
{
	struct job *j = arg;
	/* 32 KB of state: too much for a coroutine, fine on a thread's heap. */
	struct crypt_data *data = calloc(1, sizeof(*data));
	if (!data)
		return;
	char *setting = j->setting;
	if (j->make_salt)
		setting = crypt_gensalt_rn("$y$", 0, NULL, 0, j->setting, (int)sizeof(j->setting));
	turn(j->lane, F_WRLCK);
	const char *hash = setting ? hash_paced(j->password, setting, data) : NULL;
	turn(j->lane, F_UNLCK);
	/* libxcrypt reports failure as a string that starts with '*'. */
	if (hash && hash[0] != '*' && strlen(hash) < sizeof(j->out)) {
		memcpy(j->out, hash, strlen(hash) + 1);
		j->ok = true;
	}
	explicit_bzero(data, sizeof(*data));
	free(data);
}

bool password_make(const char *password, char out[CRYPT_OUTPUT_SIZE])
{
	struct job j = {.lane = -1, .password = password, .make_salt = true};
	work(&j);
	memcpy(out, j.out, sizeof(j.out));
	return j.ok;
}

static int run(struct call *c, struct job *j)
{
	int refused = offload_run(c->w->offload, OFFLOAD_FAST, c->deadline_ms, work, j);

	if (refused == -ETIME)
		return call_fail(c, CODE_DEADLINE_EXCEEDED, NULL, "the deadline has passed");
	if (refused)
		return call_fail(c, CODE_RESOURCE_EXHAUSTED, NULL,
			"too many sign-ins are being processed, try again shortly");
	return 0;
}

const char *password_hash(struct call *c, const char *password)
{
	struct job *j = call_alloc(c, sizeof(*j));
	if (!j)
		return NULL;
	*j = (struct job){.lane = lane_of(c->w), .password = password, .make_salt = true};
	if (run(c, j) != 0)
		return NULL;
	if (!j->ok) {
		(void)call_fail(c, CODE_INTERNAL, NULL, "password hashing failed");
		return NULL;
	}
	return j->out;
}

static bool is_bcrypt(struct str hash)
{
	return str_starts(hash, STR("$2a$")) || str_starts(hash, STR("$2b$")) ||
	       str_starts(hash, STR("$2y$"));
}

int password_verify(struct call *c, const char *password, struct str hash)
{
	bool known = hash.p && hash.n > 0 && hash.n < CRYPT_OUTPUT_SIZE;
	struct job *j = call_alloc(c, sizeof(*j));
	if (!j)
		return -1;
	*j = (struct job){.lane = lane_of(c->w), .password = password};
	if (known)
		memcpy(j->setting, hash.p, hash.n);
	else
		memcpy(j->setting, stand_in, sizeof(stand_in));
	if (run(c, j) != 0)
		return -1;
	if (!known || !j->ok || !str_secret_eq(str_of(j->out), hash))
		return PASSWORD_WRONG;
	return is_bcrypt(hash) ? PASSWORD_RIGHT_OLD : PASSWORD_RIGHT;
}
