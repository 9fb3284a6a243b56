/* User flow against insights-dashboards.md 1.8 and D34, D77, which override it. */
#include "tests/unit/insight_kit.h"
#include "worker/insights/flow.h"

TestSuite(flow, .init = kit_setup, .fini = kit_teardown);

#define WITH(flow, more)                                                                       \
	"{\"spec\":{\"insightType\":\"INSIGHT_TYPE_USER_FLOW\",\"userFlow\":{" flow "}" more   \
	"},\"timeRange\":{\"from\":\"2024-01-01T00:00:00Z\",\"to\":\"2024-01-05T00:00:00Z\"}," \
	"\"granularity\":\"GRANULARITY_DAY\"}"
#define Q(flow) WITH(flow, "")
#define BY_P    "\"nodeKind\":\"NODE_KIND_PROPERTY\",\"nodeProperty\":\"p\""

static bool fold(void *k, const struct frame *f)
{
	return flow_fold(k, f);
}

/* Frames before which the other kernel is made, + 1; 0: there is none. */
static int twins;

static bool fold_two(void *arg, const struct frame *f)
{
	struct kit_twin *t = arg;

	if (++t->frames == twins)
		t->second = flow_twin(t->first, &t->plan);
	return flow_fold(t->first, f) && (!t->second || flow_fold(t->second, f));
}

static bool fold_all(const struct plan *plan, const char *const *lines, struct flow *f)
{
	struct kit_twin twin;
	bool done;

	if (twins == 0)
		return kit_fold_all(plan, lines, fold, f);
	kit_twin_init(&twin, plan, f);
	done = kit_fold_all(plan, lines, fold_two, &twin) &&
	       (!twin.second || flow_join(f, twin.second));
	cr_assert(arena_adopt(&kit_a, &twin.a));
	return done;
}

/* "0:a 1:b 1:$others* | 0:a>1:b=2 ..."; buckets have a star. */
static const char *run_once(const char *json, const char *const *lines)
{
	struct flow_answer flow;
	struct plan plan;
	const char *why = kit_compile(&plan, json, "");
	struct flow *f;
	struct buf b;

	if (why)
		return why;
	f = flow_new(&plan);
	if (!fold_all(&plan, lines, f) || !flow_finish(f, &flow)) {
		cr_assert(flow_undecided(f));
		return strcpy(kit_text, "undecided");
	}
	buf_init(&b, &kit_a);
	for (uint32_t i = 0; i < flow.n_nodes; i++) {
		const struct flow_node *n = &flow.nodes[i];

		buf_printf(&b, "%.*s%s ", STR_ARG(n->id), n->others ? "*" : "");
		cr_assert(str_starts(
			n->id, arena_printf(&kit_a, "%u:%.*s", n->depth, STR_ARG(n->label))));
	}
	buf_z(&b, "|");
	for (uint32_t i = 0; i < flow.n_links; i++)
		buf_printf(&b, " %.*s>%.*s=%llu", STR_ARG(flow.nodes[flow.links[i].source].id),
			STR_ARG(flow.nodes[flow.links[i].target].id),
			(unsigned long long)flow.links[i].value);
	snprintf(kit_text, sizeof(kit_text), "%.*s", (int)b.n, b.p);
	return kit_text;
}

/* The same by two kernels. */
static const char *run(const char *json, const char *const *lines)
{
	static char alone[sizeof(kit_text)];

	twins = 0;
	snprintf(alone, sizeof(alone), "%s", run_once(json, lines));
	for (twins = 1; twins < 4; twins++)
		cr_assert_str_eq(run_once(json, lines), alone);
	return strcpy(kit_text, alone);
}

/* Sessions as "a,b,c" of kinds, or of values of p, a second apart; "" is no value. */
static const char *sessions(const char *json, bool values, const char *const *of)
{
	static char lines[400][96];
	static const char *list[402];
	int n = 0;

	for (int s = 0; of[s]; s++) {
		char copy[256], *rest = copy, *word;

		snprintf(copy, sizeof(copy), "%s", of[s]);
		for (int i = 0; (word = strsep(&rest, ",")); i++) {
			snprintf(lines[n], sizeof(lines[n]),
				"2024-01-01T10:00:%02d %s u%d @session=%d p=\"%s\"", i,
				values ? "k" : word, s, s + 1, word);
			list[n] = lines[n];
			n++;
		}
	}
	list[n] = list[n + 1] = NULL;
	return run(json, list);
}

#define check(json, expected, ...)                                             \
	do {                                                                   \
		const char *const lines_[] = {__VA_ARGS__, NULL, NULL};        \
		cr_assert_str_eq(run(json, lines_), expected, "%s", kit_text); \
	} while (0)
#define check_kinds(json, expected, ...)                                                \
	do {                                                                            \
		const char *const of_[] = {__VA_ARGS__, NULL};                          \
		cr_assert_str_eq(sessions(json, false, of_), expected, "%s", kit_text); \
	} while (0)
#define check_values(json, expected, ...)                                              \
	do {                                                                           \
		const char *const of_[] = {__VA_ARGS__, NULL};                         \
		cr_assert_str_eq(sessions(json, true, of_), expected, "%s", kit_text); \
	} while (0)

#define U1 "login,dash,settings,logout", "login,dash,logout", "login,logout", "login"

Test(flow, u1_worked)
{
	check_kinds(Q(""),
		"0:login 1:dash 1:logout 2:settings 2:logout 3:logout | 0:login>1:dash=2 "
		"0:login>1:logout=1 1:dash>2:logout=1 1:dash>2:settings=1 2:settings>3:logout=1",
		U1);
}

Test(flow, u2_worked)
{
	check_values(Q(BY_P),
		"0:pv 1:click 2:pv 3:click | 0:pv>1:click=3 1:click>2:pv=1 2:pv>3:click=1",
		"pv,pv,click", "pv,,click", "pv,click,pv,click");
	check_values(Q(BY_P ",\"maxHops\":1"), "0:pv 1:click | 0:pv>1:click=3", "pv,pv,click",
		"pv,,click", "pv,click,pv,click");
}

Test(flow, u3_worked)
{
	check_kinds(Q("\"maxNodes\":2"),
		"0:hub 1:a 1:b 1:$others* | 0:hub>1:$others=2 0:hub>1:a=1 0:hub>1:b=1", "hub,a",
		"hub,b", "hub,c", "hub,d");
}

Test(flow, u4_scope)
{
	check_kinds(Q("\"scope\":{\"kind\":\"login\"}"), "|", U1);
	/* what the scope leaves out is not between its neighbours */
	check_values(Q(BY_P ",\"scope\":{\"filters\":[{\"property\":\"p\",\"operator\":"
			    "\"FILTER_OPERATOR_NOT_EQUALS\",\"value\":\"x\"}]}"),
		"0:a 1:b | 0:a>1:b=2", "a,x,b", "x,a,b");
}

Test(flow, blanks_go_before_repeats)
{
	check_values(Q(BY_P), "0:a 1:b | 0:a>1:b=1", "a,,a,,b");
	check_values(Q(BY_P), "|", "a,,a", ",,", "a", ",b,");
	/* neither takes up a hop */
	check_values(
		Q(BY_P ",\"maxHops\":2"), "0:a 1:b 2:c | 0:a>1:b=1 1:b>2:c=1", "a,a,,b,b,,c,d");
}

Test(flow, hops)
{
	check_kinds(Q(""),
		"0:a 1:b 2:c 3:d 4:e 5:f | 0:a>1:b=1 1:b>2:c=1 2:c>3:d=1 3:d>4:e=1 4:e>5:f=1",
		"a,b,c,d,e,f,g,h");
	check_kinds(Q("\"maxHops\":10"),
		"0:a 1:b 2:a 3:b 4:a 5:b 6:a 7:b 8:a 9:b 10:a | 0:a>1:b=1 1:b>2:a=1 2:a>3:b=1 "
		"3:b>4:a=1 4:a>5:b=1 5:b>6:a=1 6:a>7:b=1 7:b>8:a=1 8:a>9:b=1 9:b>10:a=1",
		"a,b,a,b,a,b,a,b,a,b,a,b,a");
}

Test(flow, order_within_a_millisecond)
{
	check(Q(""), "0:b 1:a | 0:b>1:a=1", "2024-01-01T10:00:00 a u @session=1 @id=256", NULL,
		"2024-01-01T10:00:00 b u @session=1 @id=9");
	check(Q(""), "0:a 1:b | 0:a>1:b=1", "2024-01-01T10:00:00.002 b u @session=1 @id=1", NULL,
		"2024-01-01T10:00:00.001 a u @session=1 @id=2");
}

/* What is sealed comes without ids, unless its rows do not tell. */
Test(flow, order_without_ids)
{
#define A(id, session) "2024-01-01T10:00:00 a u @session=" session " @id=" id
#define B(id, session) "2024-01-01T10:00:00 b u @session=" session " @id=" id
	kit_level = KIT_SEALED;
	check(Q(""), "0:b 1:a | 0:b>1:a=1", B("1", "1"), A("2", "1"));
	check(Q(""), "0:a 1:b | 0:a>1:b=1", A("1", "1"), B("2", "1"));
	check(Q(""), "undecided", A("2", "1"), NULL, B("1", "1"));
	check(Q(""), "undecided", A("1", "1"), NULL, B("2", "1"));
	/* of one label, or of two sessions, there is nothing to decide */
	check(Q(""), "|", A("2", "1"), NULL, A("1", "1"));
	check(Q(""), "|", A("2", "1"), NULL, B("1", "2"));
	kit_level = KIT_SEALED_IDS;
	check(Q(""), "0:b 1:a | 0:b>1:a=1", A("2", "1"), NULL, B("1", "1"));
	check(Q(""), "0:a 1:b | 0:a>1:b=1", A("1", "1"), NULL, B("2", "1"));
#undef A
#undef B
}

Test(flow, what_counts)
{
	/* without a session, outside of the window, cookieless */
	check(Q(""), "|", "2024-01-01T10:00:00 a u", "2024-01-01T10:00:01 b u");
	check(Q(""), "0:a 1:b | 0:a>1:b=1", "2023-12-31T23:59:59.999 x u @session=1",
		"2024-01-01T00:00:00 a u @session=1", "2024-01-04T23:59:59.999 b u @session=1",
		"2024-01-05T00:00:00 c u @session=1");
	check(Q(""), "|", "2024-01-01T10:00:00 a cookieless-1 @session=1",
		"2024-01-01T10:00:01 b cookieless-1 @session=1");
	check(WITH("", ",\"includeCookieless\":true"), "0:a 1:b | 0:a>1:b=1",
		"2024-01-01T10:00:00 a cookieless-1 @session=1",
		"2024-01-01T10:00:01 b cookieless-1 @session=1");
	/* one session of two persons is one session */
	check(Q(""), "0:a 1:b | 0:a>1:b=1", "2024-01-01T10:00:00 a u @session=1",
		"2024-01-01T10:00:01 b v @session=1");
	check(WITH("", ",\"filterGroups\":[{\"filters\":[{\"property\":\"p\",\"operator\":"
		       "\"FILTER_OPERATOR_IS_SET\"}]}]"),
		"0:a 1:c | 0:a>1:c=1", "2024-01-01T10:00:00 a u @session=1 p=1",
		"2024-01-01T10:00:01 b u @session=1", "2024-01-01T10:00:02 c u @session=1 p=1");
}

Test(flow, buckets_of_every_depth)
{
	/* per depth; weights are of both sides: y (1 in, 1 out) is heavier than z (1 in) */
	check_kinds(Q("\"maxNodes\":2"),
		"0:a 0:b 0:$others* 1:m 1:y 1:$others* 2:c | 0:a>1:m=2 0:b>1:m=1 0:$others>1:y=1 "
		"0:$others>1:$others=1 1:y>2:c=1",
		"a,m", "a,m", "b,m", "d,y,c", "e,z");
	/* bucket to bucket included, and several of a session's nodes in one */
	check_kinds(Q("\"maxNodes\":2,\"maxHops\":1"),
		"0:a 0:b 0:$others* 1:x 1:y 1:$others* | 0:a>1:x=2 0:b>1:y=2 0:$others>1:$others=2",
		"a,x", "a,x", "b,y", "b,y", "c,z", "d,w");
}

Test(flow, ids_of_buckets_are_apart)
{
	/* three of each, so that they are the heaviest */
	check_values(Q(BY_P ",\"maxNodes\":2"),
		"0:$others 0:$others_ 0:$others__* 1:z | 0:$others>1:z=2 0:$others_>1:z=2 "
		"0:$others__>1:z=1",
		"$others,z", "$others,z", "$others_,z", "$others_,z", "a,z");
	/* at another depth it may be called that */
	check_values(Q(BY_P ",\"maxNodes\":2"),
		"0:h 1:a 1:b 1:$others* 2:$others | 0:h>1:a=1 0:h>1:b=1 0:h>1:$others=1 "
		"1:a>2:$others=1 1:b>2:$others=1",
		"h,a,$others", "h,b,$others", "h,c");
	/* a real one that lost its links gives its id away (D77) */
	check_values(Q(BY_P ",\"maxNodes\":2,\"maxLinks\":1"), "0:h 1:$others* | 0:h>1:$others=3",
		"h,$others", "h,$others", "h,a", "h,a", "h,b", "h,c", "h,d");
}

Test(flow, links_are_cut_and_nodes_with_them)
{
	check_kinds(Q("\"maxLinks\":2"), "0:a 1:b 1:c | 0:a>1:b=2 0:a>1:c=1", "a,b", "a,b", "a,c",
		"a,d", "b,a");
	/* weights are as before the cut: c is heavier than b */
	check_kinds(Q("\"maxLinks\":2"), "0:a 1:c 1:b | 0:a>1:b=2 0:a>1:c=2", "a,b", "a,b", "a,c,x",
		"a,c,y");
}

Test(flow, defaults)
{
	static char text[60][16];
	const char *of[61];

	/* 25 nodes of a depth: 20 are kept */
	for (int i = 0; i < 25; i++) {
		snprintf(text[i], sizeof(text[i]), "h,n%02d", i);
		of[i] = text[i];
	}
	of[25] = NULL;
	cr_assert(
		strstr(sessions(Q(""), false, of), "0:h>1:$others=5 0:h>1:n00=1"), "%s", kit_text);
	cr_assert(strstr(kit_text, "1:n19 1:$others* |"), "%s", kit_text);
	cr_assert_null(strstr(kit_text, "n20"));
}

/* Hops to labels that came late are counted elsewhere. */
Test(flow, many_labels)
{
	static char text[180][16];
	const char *of[181];

	for (int i = 0; i < 180; i++) {
		snprintf(text[i], sizeof(text[i]), "h,n%03d", i < 170 ? i : i - 10);
		of[i] = text[i];
	}
	of[180] = NULL;
	cr_assert(strstr(sessions(Q(""), false, of), "0:h>1:$others=150 0:h>1:n160=2 "), "%s",
		kit_text);
	cr_assert(strstr(kit_text, "0:h 1:n160 1:n161 "), "%s", kit_text);
	cr_assert(strstr(kit_text, "1:n169 1:n000 "), "%s", kit_text);
	cr_assert(strstr(kit_text, "1:n009 1:$others* |"), "%s", kit_text);
}
