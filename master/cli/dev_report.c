/*
 * What `pugd dev` tells: dev.json for programs, a banner for people. Both hold
 * the demo accounts of this data folder, hence mode 0600 for the file.
 */
#include "master/cli/dev.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool dev_demo_value(const struct dev *d, const char *key, char *out, size_t n)
{
	char path[PATH_MAX + 16], line[512];
	snprintf(path, sizeof(path), "%s/demo.conf", d->data);
	FILE *f = fopen(path, "re");
	if (!f)
		return false;
	size_t k = strlen(key);
	bool found = false;
	while (!found && fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, k) != 0 || line[k] != '=')
			continue;
		line[strcspn(line, "\n")] = '\0';
		found = (size_t)snprintf(out, n, "%s", line + k + 1) < n;
	}
	fclose(f);
	return found;
}

static const char *const demo_keys[] = {"email", "password", "viewer_email", "viewer_password",
	"org_id", "project_id", "public_key", "private_key"};

/* Always with a comma: numbers come last. */
static void json_string(FILE *f, const char *key, const char *value)
{
	fprintf(f, "  \"%s\": \"", key);
	for (const char *p = value; *p; p++) {
		if (*p == '"' || *p == '\\')
			fputc('\\', f);
		if ((unsigned char)*p >= 0x20)
			fputc(*p, f);
	}
	fputs("\",\n", f);
}

static void write_json(FILE *f, const struct dev *d)
{
	char value[256], mail[PATH_MAX + 8];
	fputs("{\n", f);
	json_string(f, "url", d->url);
	for (size_t i = 0; i < sizeof(demo_keys) / sizeof(demo_keys[0]); i++)
		if (dev_demo_value(d, demo_keys[i], value, sizeof(value)))
			json_string(f, demo_keys[i], value);
	snprintf(mail, sizeof(mail), "%s/mail", d->data);
	json_string(f, "mail_dir", mail);
	json_string(f, "database_url", d->database_url);
	json_string(f, "admin", d->admin);
	fprintf(f, "  \"pid\": %d,\n  \"master_pid\": %d\n}\n", (int)getpid(), (int)d->master);
}

static void banner(const struct dev *d)
{
	char email[256] = "", password[256] = "", project[64] = "", pub[64] = "", prv[64] = "";
	(void)dev_demo_value(d, "email", email, sizeof(email));
	(void)dev_demo_value(d, "password", password, sizeof(password));
	(void)dev_demo_value(d, "project_id", project, sizeof(project));
	(void)dev_demo_value(d, "public_key", pub, sizeof(pub));
	(void)dev_demo_value(d, "private_key", prv, sizeof(prv));
	printf("\npugd serves at %s\n\n"
	       "  Sign in     %s / %s\n"
	       "  Project     %s\n"
	       "  Public key  %s\n"
	       "  All of it   %s/dev.json\n\n"
	       "Send an event:\n\n"
	       "  curl -s %s/events.v1.EventsService/BatchCreate \\\n"
	       "    -H 'content-type: application/json' -H 'x-api-key: %s' \\\n"
	       "    -d '{\"events\":[{\"name\":\"hello\",\"distinctId\":\"me\","
	       "\"properties\":{\"from\":\"curl\"}}]}'\n\n"
	       "Count the page views of the last 30 days:\n\n"
	       "  curl -s %s/insights.v1.InsightsService/Query \\\n"
	       "    -H 'content-type: application/json' -H 'x-api-key: %s' \\\n"
	       "    -d '{\"spec\":{\"insightType\":\"INSIGHT_TYPE_TRENDS\",\"events\":"
	       "[{\"event\":{\"kind\":\"page_view\"}}]},\"granularity\":\"GRANULARITY_DAY\","
	       "\"timeRange\":{\"from\":\"'$(date -u -d '30 days ago' +%%FT%%TZ)'\","
	       "\"to\":\"'$(date -u +%%FT%%TZ)'\"}}'\n\n"
	       "Look inside: %s status --admin %s --watch\nStop: ^C\n",
		d->url, email, password, project, pub, d->data, d->url, pub, d->url, prv, d->exe,
		d->admin);
	fflush(stdout);
}

/* unlink and O_EXCL, because a file that is already there keeps its mode. */
bool dev_report(const struct dev *d)
{
	char path[PATH_MAX + 16], tmp[PATH_MAX + 32];
	snprintf(path, sizeof(path), "%s/dev.json", d->data);
	snprintf(tmp, sizeof(tmp), "%s.new", path);
	(void)unlink(tmp);
	int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
	if (!f)
		return dev_fail("cannot write %s: %s", tmp, strerror(errno));
	write_json(f, d);
	/* Renamed into place, so that whoever waits for the file reads it whole. */
	if (fclose(f) != 0 || rename(tmp, path) != 0)
		return dev_fail("cannot write %s: %s", path, strerror(errno));
	banner(d);
	return true;
}
