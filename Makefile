# pugd: one Makefile, not recursive. `make run` and `make test` need nothing else.
# Variants live side by side: release, test (crash hooks), asan, pad (another
# shared-memory layout, for the reload test), fuzz.

VERSION := $(shell cat VERSION)
PYTHON  := /usr/bin/python3
CC      := gcc
CLANG   := $(firstword $(shell command -v clang-14 clang 2>/dev/null) clang)
GEN     := build/gen
DATA    ?= .pug
PORT    ?= 8080
SEED    ?= 50000
PREFIX  ?= /usr
MAKEFLAGS += --no-builtin-rules

all: build/pugd

-include proto/gen/rules.mk
-include sql/gen/rules.mk
-include worker/ingest/gen/rules.mk
PROTO_STAMP := $(GEN)/.proto.stamp

# ---- flags -------------------------------------------------------------------

WARN := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wformat=2 -Wvla \
	-Wcast-qual -Wwrite-strings -Wswitch-enum -Wconversion
HARDEN := -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIE -fno-plt \
	-ftrivial-auto-var-init=zero
# Hidden: a name of ours must not stand in for one that two libraries share (libjwt
# calls jansson's json_object(), and an executable's symbols come first).
COMMON := -std=c11 -D_GNU_SOURCE -fvisibility=hidden -DPUGD_VERSION='"$(VERSION)"' -I. -I$(GEN) -g -MMD -MP \
	-fno-omit-frame-pointer $(shell pkg-config --cflags libpq libprotobuf-c libjwt libcurl jansson libpcre2-8 libmaxminddb 2>/dev/null)
LIBS := $(shell pkg-config --libs libpq libprotobuf-c libjwt libcurl jansson \
	libpcre2-8 libmaxminddb 2>/dev/null) -lssl -lcrypto -lz \
	-llz4 -lcrypt -lpthread -lm
HARDEN_LD := -pie -Wl,-z,relro,-z,now

# llhttp: Debian 13 has the library, Debian 12 the C sources inside node-llhttp.
ifneq ($(wildcard /usr/include/llhttp.h),)
LIBS += -lllhttp
LLHTTP_SRC :=
else
LLHTTP_SRC := $(wildcard /usr/share/llhttp/*.c)
COMMON += -I/usr/share/include/llhttp
endif

VARIANTS := release test asan tsan pad fuzz wgcc wclang
CC_release := $(CC)
CC_test := $(CC)
CC_asan := $(CC)
CC_tsan := $(CC)
CC_pad := $(CC)
CC_fuzz := $(CLANG)
CC_wgcc := gcc
CC_wclang := $(CLANG)
OPT := -O2 $(HARDEN)
SAN := -fsanitize=address,undefined -fno-sanitize-recover=undefined
CFLAGS_release := $(OPT) -D_FORTIFY_SOURCE=2
CFLAGS_test := $(OPT) -D_FORTIFY_SOURCE=2 -DPUGD_TEST_HOOKS
CFLAGS_asan := -O1 $(SAN) -DPUGD_TEST_HOOKS
# fences are for other processes, of which it knows nothing
CFLAGS_tsan := -O1 -fsanitize=thread -Wno-tsan -DPUGD_TEST_HOOKS
CFLAGS_pad := $(OPT) -D_FORTIFY_SOURCE=2 -DPUGD_TEST_SHM_PAD=64
CFLAGS_wgcc := $(OPT) -D_FORTIFY_SOURCE=2 -DPUGD_TEST_HOOKS -Werror
CFLAGS_wclang := -O2 -Werror
CFLAGS_fuzz := -O1 $(SAN) -fsanitize=fuzzer-no-link -DPUGD_TEST_HOOKS -DPUGD_FUZZ
LDFLAGS_release := $(HARDEN_LD)
LDFLAGS_test := $(HARDEN_LD)
LDFLAGS_asan := $(SAN)
LDFLAGS_tsan := -fsanitize=thread
LDFLAGS_pad := $(HARDEN_LD)
LDFLAGS_fuzz := $(SAN)

# ---- sources and objects -------------------------------------------------------

SRC  := $(sort $(wildcard shm/*.c shm/base/*.c proto/*.c worker/*.c worker/*/*.c \
	master/*.c master/cli/*.c))
GENC := $(PROTO_GEN_C) $(SQL_GEN_C) $(AGENT_GEN_C)
OBJ  := $(SRC:.c=.o) $(patsubst $(GEN)/%.c,gen/%.o,$(GENC)) \
	$(patsubst /usr/share/llhttp/%.c,llhttp/%.o,$(LLHTTP_SRC))
LIBOBJ := $(filter-out master/main.o,$(OBJ))

# What says the version.
VERSIONED := master/cli/cli.o master/cli/check.o master/status.o worker/outbound.o

define variant
build/$(1)/%.o: %.c | $(PROTO_STAMP) $(SQL_STAMP)
	@mkdir -p $$(@D)
	@echo "  CC $(1) $$<"
	@$$(CC_$(1)) $$(COMMON) $$(WARN) $$(CFLAGS_$(1)) $$(FLAGS_$$<) \
		$$(if $$(filter tests/unit/%,$$<),$$(UNIT_WARN_$(1))) -c -o $$@ $$<
build/$(1)/gen/%.o: $(GEN)/%.c | $(PROTO_STAMP) $(SQL_STAMP)
	@mkdir -p $$(@D)
	@echo "  CC $(1) $$<"
	@$$(CC_$(1)) $$(COMMON) $$(CFLAGS_$(1)) -c -o $$@ $$<
build/$(1)/llhttp/%.o: /usr/share/llhttp/%.c
	@mkdir -p $$(@D)
	@$$(CC_$(1)) $$(COMMON) $$(CFLAGS_$(1)) -w -c -o $$@ $$<
build/$(1)/libpugd.a: $$(addprefix build/$(1)/,$(LIBOBJ))
	@rm -f $$@
	@ar rcs $$@ $$^
build/$(1)/pugd: build/$(1)/master/main.o build/$(1)/libpugd.a
	@echo "  LD $$@"
	@$$(CC_$(1)) $$(LDFLAGS_$(1)) -o $$@ $$< build/$(1)/libpugd.a $$(LIBS)
-include $$(patsubst %.o,build/$(1)/%.d,$(OBJ))
$(VERSIONED:%=build/$(1)/%): VERSION
endef
# Criterion's macros drop a const; the two compilers have two names for that.
$(foreach v,$(VARIANTS),$(eval UNIT_WARN_$(v) := -Wno-discarded-qualifiers))
UNIT_WARN_wclang := -Wno-incompatible-pointer-types-discards-qualifiers
$(foreach v,$(VARIANTS),$(eval $(call variant,$(v))))

# glibc's fortified longjmp aborts on a switch between stacks (design.md 2).
FLAGS_worker/coro.c := -U_FORTIFY_SOURCE

# Loops over all events of a query: at -O2 gcc 12 vectorises only those of a known length.
LOOPS := $(wildcard worker/insights/*.c) $(addprefix worker/store/,batch.c column.c evseg.c numbers.c)
$(foreach f,$(LOOPS),$(eval FLAGS_$(f) := -O3))

build/pugd: build/release/pugd
	@ln -f $< $@

# ---- tests -----------------------------------------------------------------------

UNIT := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c))
FUZZ := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
# Programs of the tests: linked like pugd, without master/main.c.
PROGRAMS := wire/echo_main api/agent_probe db/people_probe conformance/server_main storm/shm_kill db/db_probe master/fake_main \
	bench/bench_main bench/kernels bench/insights_main
PROGRAMS := $(foreach p,$(PROGRAMS),$(if $(wildcard tests/$(p).c),$(p)))
# The conformance suite has a method table of its own (tests/conformance/rules.mk).
-include tests/conformance/rules.mk
# So have the codecs' tests (tests/unit/scalars/rules.mk).
-include tests/unit/scalars/rules.mk
-include tests/bench/rules.mk

define testbuild
build/$(1)/unit/%: build/$(1)/tests/unit/%.o build/$(1)/libpugd.a
	@mkdir -p $$(@D)
	@$$(CC_$(1)) $$(LDFLAGS_$(1)) -o $$@ $$(filter %.o,$$^) build/$(1)/libpugd.a -lcriterion $$(LIBS)
build/$(1)/bin/%: build/$(1)/tests/%.o build/$(1)/libpugd.a
	@mkdir -p $$(@D)
	@$$(CC_$(1)) $$(LDFLAGS_$(1)) -o $$@ $$< $$(EXTRA_$$*_$(1)) build/$(1)/libpugd.a $$(LIBS)
build/$(1)/replay/%: build/$(1)/tests/fuzz/%.o build/$(1)/tests/fuzz/replay.o build/$(1)/libpugd.a
	@mkdir -p $$(@D)
	@$$(CC_$(1)) $$(LDFLAGS_$(1)) -o $$@ $$(filter %.o,$$^) build/$(1)/libpugd.a $$(LIBS)
tests-$(1): build/$(1)/pugd $$(addprefix build/$(1)/unit/,$(UNIT)) \
	$$(addprefix build/$(1)/bin/,$(PROGRAMS)) $$(addprefix build/$(1)/replay/,$(FUZZ))
-include $$(addprefix build/$(1)/tests/unit/,$(UNIT:=.d)) \
	$$(addprefix build/$(1)/tests/,$(PROGRAMS:=.d)) $$(addprefix build/$(1)/tests/fuzz/,$(FUZZ:=.d))
endef
$(foreach v,test asan,$(eval $(call testbuild,$(v))))

build/fuzz/bin/%: build/fuzz/tests/fuzz/%.o build/fuzz/libpugd.a
	@mkdir -p $(@D)
	@$(CLANG) $(LDFLAGS_fuzz) -fsanitize=fuzzer -o $@ $(filter %.o,$^) build/fuzz/libpugd.a $(LIBS)

-include $(addprefix build/fuzz/tests/fuzz/,$(FUZZ:=.d))

# One short-cut for a single unit test: make unit/test_arena
unit/%: build/test/unit/%
	$<

.PHONY: all run test storm check asan tsan bench bench-ingest bench-insights fsck fuzz conformance sql-check fmt fmt-check layers install \
	dist clean deps deps-test npm tests-test tests-asan debian13 warn
.SECONDARY:

deps:
	@tests/harness/deps.sh run
deps-test:
	@tests/harness/deps.sh test

# The packages must be there before make looks for them, hence the second make.
run: deps
	@$(MAKE) --no-print-directory -j2 build/pugd
	@exec build/pugd dev --data "$(DATA)" --port "$(PORT)" --seed "$(SEED)"

npm:
	@tests/harness/npm.sh

test: deps-test npm
	@$(MAKE) --no-print-directory -j2 build/pugd tests-test build/pad/pugd
	@$(PYTHON) tests/run.py --variant test

check: layers fmt-check
	@$(MAKE) --no-print-directory -j2 tests-test
	@$(PYTHON) tests/run.py --variant test --only unit,replay

# The reload and kill tests at their full length: 80 generations, 200 kills.
storm: deps-test
	@$(MAKE) --no-print-directory -j2 build/pugd tests-test build/pad/pugd
	@STORM=full $(PYTHON) tests/run.py --variant test --only storm

asan: deps-test npm
	@$(MAKE) --no-print-directory -j2 build/pugd tests-asan build/pad/pugd
	@$(PYTHON) tests/run.py --variant asan

# Races between the threads of a worker; not in .ci/run. Criterion does not run with it, and one
# suite measures times.
tsan: deps-test npm
	@$(MAKE) --no-print-directory -j2 build/pugd tests-test build/tsan/pugd build/pad/pugd
	@PUGD_VARIANT=tsan TSAN_OPTIONS=history_size=5 $(PYTHON) tests/run.py --only api --skip test_responsive

fuzz: deps-test
	@$(MAKE) --no-print-directory -j2 $(addprefix build/fuzz/bin/,$(FUZZ))
	@$(PYTHON) tests/fuzz/run.py --seconds $(or $(SECONDS),60)

conformance: deps-test
	@$(MAKE) --no-print-directory -j2 build/test/bin/conformance/server_main
	@tests/conformance/run.sh build/test/bin/conformance/server_main

bench: deps-test
	@$(MAKE) --no-print-directory -j2 build/pugd
	@$(PYTHON) tests/bench/run.py

# Thresholds: `make bench-ingest CHECK=--check`.
bench-ingest: deps-test
	@$(MAKE) --no-print-directory -j2 build/pugd
	@$(PYTHON) tests/bench/ingest.py $(CHECK)

# ARGS: --quick, --events N, --check and others (tests/bench/insights.py --help).
bench-insights: deps-test
	@$(MAKE) --no-print-directory -j2 build/pugd
	@$(PYTHON) tests/bench/insights.py $(ARGS)

# Is everything that DATA's server has stored there once and as it was? It must be running.
fsck: build/pugd
	@test -e "$(DATA)/dev.json" || { echo "$(DATA): no running server (make run)"; exit 1; }
	@build/pugd verify --config /dev/null -o "database_url=$$($(PYTHON) -c \
		'import json, sys; print(json.load(open(sys.argv[1]))["database_url"])' "$(DATA)/dev.json")"

sql-check:
	@$(PYTHON) sql/gen/check.py

fmt:
	@git ls-files '*.c' '*.h' | xargs clang-format-14 -i
fmt-check:
	@tests/harness/fmt_check.sh

layers:
	@$(PYTHON) tests/harness/layers.py

# gcc and clang without warnings: the product and every C program of the tests.
WARN_OBJ := master/main.o $(UNIT:%=tests/unit/%.o) $(PROGRAMS:%=tests/%.o) $(FUZZ:%=tests/fuzz/%.o) \
	tests/fuzz/replay.o tests/conformance/handlers.o \
	$(patsubst %,tests/bench/%.o,columns emit plain)
$(foreach v,wgcc wclang,build/$(v)/tests/conformance/server_main.o build/$(v)/tests/conformance/handlers.o): $(CONF_GEN)/stamp
-include $(foreach v,wgcc wclang,$(WARN_OBJ:%.o=build/$(v)/%.d))
warn: deps-test
	@$(MAKE) --no-print-directory -j2 $(foreach v,wgcc wclang,build/$(v)/libpugd.a $(WARN_OBJ:%=build/$(v)/%))

debian13:
	@tests/harness/debian13.sh

install: build/pugd
	install -D -m 755 build/pugd $(DESTDIR)$(PREFIX)/sbin/pugd
	install -D -m 644 systemd/pugd.service $(DESTDIR)$(PREFIX)/lib/systemd/system/pugd.service
	install -D -m 644 systemd/pugd.socket $(DESTDIR)$(PREFIX)/lib/systemd/system/pugd.socket
	install -D -m 644 systemd/pugd.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/pugd.conf
	install -D -m 644 systemd/pugd.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/pugd.conf
	install -D -m 644 systemd/pugd.8 $(DESTDIR)$(PREFIX)/share/man/man8/pugd.8
	install -D -m 644 systemd/pugd.conf.5 $(DESTDIR)$(PREFIX)/share/man/man5/pugd.conf.5
	sed -i 's|/usr/sbin/pugd|$(PREFIX)/sbin/pugd|' $(DESTDIR)$(PREFIX)/lib/systemd/system/pugd.service
	test -e $(DESTDIR)/etc/pugd/pugd.conf || \
		install -D -m 644 systemd/pugd.conf $(DESTDIR)/etc/pugd/pugd.conf

dist:
	@mkdir -p build/dist
	git archive --prefix=pugd-$(VERSION)/ -o build/dist/pugd-$(VERSION).tar.gz HEAD

clean:
	rm -rf build
