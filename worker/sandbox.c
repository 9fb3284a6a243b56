/*
 * The sandbox of a worker, entered after warm-up: no new privileges, no core
 * dumps (memory holds keys), file access by Landlock to what reconnecting to
 * PostgreSQL and time zones need, and a seccomp filter made from sandbox.def.
 * Limits what a bug in a parser is worth. The shared segment is one trust
 * domain all the same (SECURITY.md).
 */
#include "worker/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <libpq-fe.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shm/base/log.h"
#include "shm/options.h"
#include "worker/sanitize.h"

#if defined(__x86_64__)
#define SANDBOX_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define SANDBOX_ARCH AUDIT_ARCH_AARCH64
#endif

/* ---- files ---- */

/* Rights of Landlock's third version, which Debian 12's headers do not have. */
enum { RIGHT_TRUNCATE = 1 << 14 };

enum {
	READ = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
	READ_WRITE = READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
		     LANDLOCK_ACCESS_FS_REMOVE_FILE,
	FILE_RIGHTS = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE
};

/* tz database, certificates, resolver, NSS modules; /run for resolv.conf. */
static const char *const readable[] = {"/etc", "/usr", "/lib", "/lib64", "/run", "/dev/null",
	"/dev/urandom", "/sys/devices/system/cpu", "/proc/sys", "/var/lib/ca-certificates"};

static int landlock_version(void)
{
	return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

static void allow_path(int ruleset, const char *path, uint64_t rights)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = rights};
	struct stat st;

	rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
	/* What is not there cannot be read later either. */
	if (rule.parent_fd < 0)
		return;
	if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
		rule.allowed_access &= FILE_RIGHTS;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		log_warn("sandbox rule failed path=%s error=%d", path, errno);
	close(rule.parent_fd);
}

/* libpq opens these anew for every connection. */
static void allow_conninfo(int ruleset, const char *url)
{
	static const char *const keys[] = {
		"passfile", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcrldir"};
	PQconninfoOption *all = url[0] ? PQconninfoParse(url, NULL) : NULL, *o;
	size_t i;

	for (o = all; o && o->keyword; o++)
		for (i = 0; i < sizeof(keys) / sizeof(*keys); i++)
			if (o->val && strcmp(o->keyword, keys[i]) == 0)
				allow_path(ruleset, o->val, READ);
	PQconninfoFree(all);
}

static void allow_environment(int ruleset)
{
	static const char *const vars[] = {"PGPASSFILE", "PGSERVICEFILE", "PGSYSCONFDIR",
		"PGSSLCERT", "PGSSLKEY", "PGSSLROOTCERT", "PGSSLCRL", "SSL_CERT_FILE",
		"SSL_CERT_DIR"};
	static const char *const at_home[] = {".pgpass", ".pg_service.conf", ".postgresql"};
	const char *home = getenv("HOME"), *value;
	char path[4096];
	size_t i;

	for (i = 0; i < sizeof(vars) / sizeof(*vars); i++)
		if ((value = getenv(vars[i])) && value[0] == '/')
			allow_path(ruleset, value, READ);
	for (i = 0; home && i < sizeof(at_home) / sizeof(*at_home); i++)
		if (snprintf(path, sizeof(path), "%s/%s", home, at_home[i]) < (int)sizeof(path))
			allow_path(ruleset, path, READ);
}

/* All rights of Landlock's first version, of which MAKE_SYM is the last; what is handled and not
 * allowed is refused. Binds this thread and those that it starts from now on, unlike the filter,
 * which is put on all threads (TSYNC). */
static bool restrict_files(const struct options *opt)
{
	struct landlock_ruleset_attr attr = {
		.handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_SYM * 2 - 1};
	int version = landlock_version(), ruleset;
	bool ok;
	size_t i;

	if (version < 1)
		return false;
	if (version >= 2)
		attr.handled_access_fs |= LANDLOCK_ACCESS_FS_REFER;
	if (version >= 3)
		attr.handled_access_fs |= RIGHT_TRUNCATE;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (ruleset < 0)
		return false;
	for (i = 0; i < sizeof(readable) / sizeof(*readable); i++)
		allow_path(ruleset, readable[i], READ);
	allow_environment(ruleset);
	allow_conninfo(ruleset, opt->database_url);
	allow_conninfo(ruleset, opt->ingest_url);
	allow_conninfo(ruleset, opt->analytics_url);
	if (opt->outbound_ca_file[0])
		allow_path(ruleset, opt->outbound_ca_file, READ);
	if (opt->mail_dir[0])
		allow_path(
			ruleset, opt->mail_dir, READ_WRITE | (version >= 3 ? RIGHT_TRUNCATE : 0));
	ok = syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
	close(ruleset);
	return ok;
}

/* ---- system calls ---- */

#ifdef SANDBOX_ARCH

#define LOAD(field) \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, field))
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, (what))
/* Skips `n` instructions unless the accumulator is k. */
#define UNLESS(k, n)        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(k), 0, (n))
#define IF_BITS(k, yes, no) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (uint32_t)(k), (yes), (no))
#define KILL                SECCOMP_RET_KILL_PROCESS
#define FAIL(error)         (SECCOMP_RET_ERRNO | (error))
#define NUMBER              LOAD(nr)
/* The low halves of arguments: both architectures here are little-endian. */
#define ARGUMENT(i) LOAD(args[i])

static int install_filter(void)
{
	struct sock_filter code[] = {
		LOAD(arch),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SANDBOX_ARCH, 1, 0),
		RETURN(KILL),
		NUMBER,
#ifdef __x86_64__
		/* The x32 calls have numbers of their own, which the list does not know. */
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
		RETURN(KILL),
#endif
#define SANDBOX_KILL(call, why) UNLESS(__NR_##call, 1), RETURN(KILL),
#define SANDBOX_FAIL(call, why) UNLESS(__NR_##call, 1), RETURN(FAIL(EPERM)),
#include "worker/sandbox.def"
#undef SANDBOX_KILL
#undef SANDBOX_FAIL
		/* clone3 hides its flags behind a pointer; glibc falls back to clone. */
		UNLESS(__NR_clone3, 1),
		RETURN(FAIL(ENOSYS)),
		/* clone makes threads only. */
		UNLESS(__NR_clone, 3),
		ARGUMENT(0),
		IF_BITS(CLONE_THREAD, 1, 0),
		RETURN(KILL),
		NUMBER,
		/* Signals to ourselves: abort(). */
		UNLESS(__NR_tgkill, 3),
		ARGUMENT(0),
		UNLESS(getpid(), 1),
		RETURN(SECCOMP_RET_ALLOW),
		NUMBER,
		UNLESS(__NR_tgkill, 1),
		RETURN(FAIL(EPERM)),
		/* Memory is never writable and executable at once. */
		UNLESS(__NR_mmap, 4),
		ARGUMENT(2),
		IF_BITS(PROT_WRITE, 0, 2),
		IF_BITS(PROT_EXEC, 0, 1),
		RETURN(FAIL(EPERM)),
		NUMBER,
		UNLESS(__NR_mprotect, 4),
		ARGUMENT(2),
		IF_BITS(PROT_WRITE, 0, 2),
		IF_BITS(PROT_EXEC, 0, 1),
		RETURN(FAIL(EPERM)),
		NUMBER,
		/* TCP, Unix sockets, and netlink for the resolver. */
		UNLESS(__NR_socket, 6),
		ARGUMENT(0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 1, 0),
		RETURN(FAIL(EAFNOSUPPORT)),
		RETURN(SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {.len = sizeof(code) / sizeof(*code), .filter = code};

	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog);
}

#else
static int install_filter(void)
{
	errno = ENOSYS;
	return -1;
}
#endif

bool sandbox_enter(const struct options *opt)
{
	struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
#ifdef WORKER_ASAN
	(void)restrict_files;
	(void)install_filter;
	(void)opt;
	log_info("sandbox is off in sanitizer builds");
	return false;
#else
	prctl(PR_SET_DUMPABLE, 0);
	/* First: without privileges neither Landlock nor a filter is to be had without it. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
		log_err("sandbox failed step=no_new_privs error=%d", errno);
		return false;
	}
	if (!restrict_files(opt))
		log_info("sandbox without Landlock: this kernel has none");
	if (install_filter() != 0)
		log_warn("sandbox failed step=seccomp error=%d", errno);
	return true;
#endif
}
