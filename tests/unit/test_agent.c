/* User agents by the rules of uap-core: the vectors of events-profiles.md 1.11. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <time.h>
#include "worker/ingest/agent.h"
#include "worker/ingest/agent_match.h"

#define WEBKIT  "AppleWebKit/537.36 (KHTML, like Gecko) "
#define APPLE   "AppleWebKit/605.1.15 (KHTML, like Gecko) "
#define WINDOWS "Mozilla/5.0 (Windows NT 10.0; Win64; x64) "
#define MAC     "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) "
#define IPHONE  "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) "

static const struct {
	const char *agent, *browser, *version, *os, *os_version, *device;
	bool mobile;
} rows[] = {
	{WINDOWS WEBKIT "Chrome/118.0.0.0 Safari/537.36", "Google Chrome", "118", "Windows", "10",
		"", false},
	{MAC WEBKIT "Chrome/126.0.0.0 Safari/537.36", "Google Chrome", "126", "macOS", "10.15.7",
		"Mac", false},
	{MAC APPLE "Version/17.4.1 Safari/605.1.15", "Safari", "17", "macOS", "10.15.7", "Mac",
		false},
	{WINDOWS WEBKIT "Chrome/126.0.0.0 Safari/537.36 Edg/126.0.2592.68", "Microsoft Edge", "126",
		"Windows", "10", "", false},
	{"Mozilla/5.0 (Linux; Android 10; HD1913) " WEBKIT
	 "Chrome/125.0.6422.147 Mobile Safari/537.36 EdgA/125.0.2535.72",
		"Microsoft Edge", "125", "Android", "10", "OnePlus HD1913", true},
	{IPHONE APPLE "Version/17.0 EdgiOS/125.0.2535.60 Mobile/15E148 Safari/604.1",
		"Microsoft Edge", "125", "iOS", "17.5", "iPhone", true},
	{"Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0",
		"Firefox", "126", "Linux", "", "", false},
	{"Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0", "Firefox Mobile",
		"127", "Android", "14", "Generic Smartphone", true},
	{"Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) " APPLE
	 "Version/17.0 Mobile/15E148 Safari/604.1",
		"Safari", "17", "iOS", "17.0", "iPhone", true},
	{"Mozilla/5.0 (iPad; CPU OS 17_0 like Mac OS X) " APPLE
	 "Version/17.0 Mobile/15E148 Safari/604.1",
		"Safari", "17", "iOS", "17.0", "iPad", false},
	{IPHONE APPLE "CriOS/126.0.6478.54 Mobile/15E148 Safari/604.1", "Chrome Mobile iOS", "126",
		"iOS", "17.5", "iPhone", true},
	{IPHONE APPLE "FxiOS/127.0 Mobile/15E148 Safari/605.1.15", "Firefox iOS", "127", "iOS",
		"17.5", "iPhone", true},
	{"Mozilla/5.0 (Linux; Android 14; Pixel 8) " WEBKIT "Chrome/120.0.0.0 Mobile Safari/537.36",
		"Google Chrome", "120", "Android", "14", "Pixel 8", true},
	{"Mozilla/5.0 (Linux; Android 10; K) " WEBKIT "Chrome/126.0.0.0 Mobile Safari/537.36",
		"Google Chrome", "126", "Android", "10", "K", true},
	{"Mozilla/5.0 (Linux; Android 13; SM-X710) " WEBKIT "Chrome/126.0.0.0 Safari/537.36",
		"Google Chrome", "126", "Android", "13", "SM-X710", false},
	{"Mozilla/5.0 (Linux; Android 14; SM-S921B) " WEBKIT
	 "SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36",
		"Samsung Internet", "25", "Android", "14", "Samsung SM-S921B", true},
	{WINDOWS WEBKIT "Chrome/125.0.0.0 Safari/537.36 OPR/111.0.0.0", "Opera", "111", "Windows",
		"10", "", false},
	{"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) " WEBKIT "Chrome/124.0.0.0 Safari/537.36",
		"Google Chrome", "124", "Chrome OS", "14541.0.0", "", false},
	{"Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko", "IE", "11",
		"Windows", "7", "", false},
	{"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Googlebot",
		"2", "", "", "Spider", false},
	{"Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "bingbot", "2",
		"", "", "Spider", false},
	{"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.1; "
	 "+https://openai.com/gptbot)",
		"GPTBot", "1", "", "", "Spider", false},
	{"Mozilla/5.0 (X11; Linux x86_64) " WEBKIT "HeadlessChrome/126.0.6478.126 Safari/537.36",
		"HeadlessChrome", "126", "Linux", "", "", false},
	{IPHONE APPLE "Mobile/15E148 [FBAN/FBIOS;FBAV/465.0.0.41.100;FBBV/600000000;"
		      "FBDV/iPhone14,5;FBMD/iPhone;FBSN/iOS;FBSV/17.5;FBSS/3;FBID/phone;"
		      "FBLC/en_US;FBOP/5]",
		"Facebook", "465", "iOS", "17.5", "iPhone", true},
	{"MyApp/1.0 CFNetwork/1494.0.7 Darwin/23.4.0", "MyApp", "1", "iOS", "17.4", "iOS-Device",
		true},
	{"curl/8.1.2", "curl", "8", "", "", "", false},
	{"python-requests/2.31.0", "Python Requests", "2", "", "", "", false},
	{"okhttp/4.12.0", "okhttp", "4", "", "", "", false},
	{"Go-http-client/1.1", "Go-http-client", "1", "", "", "", false},
};

static const char *const nobody[] = {"", "connect-es/2.0.0", "connect-es/2.1.1",
	"connect-go/1.16.0 (go1.22)", "node", "undici", "Dart/3.3 (dart:io)", "garbage"};

static struct agents *agents;
static struct arena arena;

static void set_up(void)
{
	arena_init(&arena, 8 << 20);
	agents = agents_new();
	cr_assert(agents);
}

static void tear_down(void)
{
	agents_free(agents);
	arena_free(&arena);
}

TestSuite(agent, .init = set_up, .fini = tear_down);

static void check(size_t i)
{
	struct agent r = agents_look_up(agents, &arena, str_of(rows[i].agent));

	cr_expect(r.known, "%s", rows[i].agent);
	cr_expect(str_eq(r.browser, str_of(rows[i].browser)), "%s: %.*s", rows[i].agent,
		STR_ARG(r.browser));
	cr_expect(str_eq(r.browser_version, str_of(rows[i].version)), "%s: %.*s", rows[i].agent,
		STR_ARG(r.browser_version));
	cr_expect(str_eq(r.os, str_of(rows[i].os)), "%s: %.*s", rows[i].agent, STR_ARG(r.os));
	cr_expect(str_eq(r.os_version, str_of(rows[i].os_version)), "%s: %.*s", rows[i].agent,
		STR_ARG(r.os_version));
	cr_expect(str_eq(r.device, str_of(rows[i].device)), "%s: %.*s", rows[i].agent,
		STR_ARG(r.device));
	cr_expect_eq(r.mobile, rows[i].mobile, "%s", rows[i].agent);
}

/* Three rounds: found, and then twice from what was kept. */
Test(agent, golden_vectors)
{
	for (int round = 0; round < 3; round++)
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
			check(i);
}

Test(agent, nothing_to_say)
{
	struct agent r;

	for (size_t i = 0; i < sizeof(nobody) / sizeof(nobody[0]); i++) {
		r = agents_look_up(agents, &arena, str_of(nobody[i]));
		cr_expect(!r.known, "%s", nobody[i]);
		cr_expect_eq(r.browser.n + r.os.n + r.device.n, 0, "%s", nobody[i]);
	}
}

Test(agent, many_more_than_are_kept)
{
	char text[64];
	struct agent r;

	for (int i = 0; i < 6000; i++) {
		snprintf(text, sizeof(text), "curl/%d.1", i % 3000);
		r = agents_look_up(agents, &arena, str_of(text));
		snprintf(text, sizeof(text), "%d", i % 3000);
		cr_assert(str_eq(r.browser_version, str_of(text)), "%d", i);
	}
}

Test(agent, odd_bytes_are_made_text)
{
	struct agent r = agents_look_up(
		agents, &arena, STR("MyApp\xff\x01/1.0 CFNetwork/1494.0.7 Darwin/23.4.0"));

	cr_assert(r.known);
	cr_assert(str_utf8_ok(r.browser));
	r = agents_look_up(agents, &arena,
		STR("Mozilla/5.0 (Linux; Android 14; P\xe9l) " WEBKIT
		    "Chrome/120.0.0.0 Mobile Safari/537.36"));
	cr_assert(str_eq(r.device, STR("P\xef\xbf\xbdl")), "%.*s", STR_ARG(r.device));
}

/* What begins after the first KiB does not count; what is made to be slow is not. */
Test(agent, bounded)
{
	static char text[40000];
	struct timespec a, b;
	struct agent r;
	double ms;

	memset(text, 'a', 2000);
	strcpy(text + 2000, " curl/8.1.2");
	r = agents_look_up(agents, &arena, str_of(text));
	cr_assert(!str_eq(r.browser, STR("curl")));
	for (size_t i = 0; i + 40 < sizeof(text); i += 23)
		memcpy(text + i, "; Android 1; SM- Build/ ", 24);
	clock_gettime(CLOCK_MONOTONIC, &a);
	r = agents_look_up(agents, &arena, str_of(text));
	clock_gettime(CLOCK_MONOTONIC, &b);
	ms = (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
	cr_log_info("slow user agent: %.1f ms", ms);
	cr_assert_lt(ms, 1000);
	(void)r;
}

Test(agent, every_rule_compiles)
{
	struct agent_match *m = agent_match_new();

	cr_assert(m);
	cr_assert_eq(agent_match_check(m), 0);
	cr_assert_gt(agent_rule_count, 1000);
	agent_match_free(m);
}

Test(agent, no_memory)
{
	struct arena small;
	struct agent r;

	arena_init(&small, 1);
	r = agents_look_up(agents, &small, str_of(rows[1].agent));
	cr_assert(str_eq(r.browser, STR("")) || str_eq(r.browser, STR("Google Chrome")));
	arena_free(&small);
}
