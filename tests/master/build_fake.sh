#!/bin/sh
# Builds the master with the fake worker, and the same with another shared-memory
# layout, straight from the sources: no database, no generated code.
#   build_fake.sh FOLDER [extra compiler flags]
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
out=$1
shift
mkdir -p "$out"
sources=$(cd "$top" && ls shm/*.c shm/base/*.c master/*.c master/cli/*.c |
	grep -v -e '^master/main.c$')
flags="-std=c11 -D_GNU_SOURCE -O1 -g -I$top -w"
version=$(cat "$top/VERSION" 2>/dev/null || echo 0)
build() {
	name=$1
	shift
	# shellcheck disable=SC2086
	(cd "$top" && ${CC:-gcc} $flags -DPUGD_VERSION="\"$version\"" "$@" \
		$(pkg-config --cflags libpq) -o "$out/$name" $sources tests/master/fake_main.c \
		$(pkg-config --libs libpq) -lcrypto -lm)
}
build pugd "$@"
build pugd-other -DPUGD_TEST_SHM_PAD=64 "$@"
