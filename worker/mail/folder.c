/* Development: each mail of the operator's becomes a file (option mail_dir). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "worker/mail/point.h"
#include "worker/mail/send.h"

static bool write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t done = write(fd, p, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return false;
		p += done;
		n -= (size_t)done;
	}
	return fsync(fd) == 0;
}

/* So that the name survives a crash as well as the bytes. */
static void sync_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)fsync(fd);
	close(fd);
}

/* Named by the mail's id, so that a repeat replaces its file, and renamed when it is whole, so
 * that nobody reads half of one. */
void send_folder(struct send_job *j)
{
	const char *folder = j->provider->folder;
	struct str path = arena_printf(j->a, "%s/%.*s.eml", folder, STR_ARG(j->mail->id));
	struct str part = arena_printf(j->a, "%s/.%.*s.part", folder, STR_ARG(j->mail->id));
	struct buf bytes;
	bool ok;
	int fd;

	if (!send_bytes(j, &bytes))
		return;
	mail_point(j->opt, "connected");
	fd = path.p && part.p ? open(part.p, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
	ok = fd >= 0 && write_all(fd, bytes.p, bytes.n);
	if (fd >= 0)
		close(fd);
	ok = ok && rename(part.p, path.p) == 0;
	if (ok)
		sync_folder(folder);
	j->result->accepted = ok;
	if (!ok)
		mail_failed(j->result, false, "mail_dir cannot be written");
}
