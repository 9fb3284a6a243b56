#!/bin/sh
# Builds the master with the fake worker straight from the sources (no database,
# no generated code), three times:
#   pugd         as it is
#   pugd-other   with another layout of the shared segment
#   pugd-future  that cannot read the state which today's master hands over
# usage: build_fake.sh FOLDER [extra compiler flags]
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
out=$1
shift
mkdir -p "$out/o" "$out/other"
version=$(cat "$top/VERSION" 2>/dev/null || echo 0)
libs="$(pkg-config --libs libpq) -lcrypto -lm"
cd "$top"
sources="$(ls shm/*.c shm/base/*.c master/*.c master/cli/*.c | grep -v '^master/main.c$')
	tests/master/fake_main.c"

compile() { # object source flags...
	object=$1
	source=$2
	shift 2
	# shellcheck disable=SC2046
	${CC:-gcc} -std=c11 -D_GNU_SOURCE -O1 -g -w -I"$top" -DPUGD_VERSION="\"$version\"" \
		$(pkg-config --cflags libpq) "$@" -c -o "$object" "$source"
}

all() { # folder flags...
	folder=$1
	shift
	pids=
	for s in $sources; do
		compile "$folder/$(echo "$s" | tr / _).o" "$s" "$@" &
		pids="$pids $!"
		# Two at a time.
		if [ "$(echo "$pids" | wc -w)" -ge 2 ]; then
			# shellcheck disable=SC2086
			wait $pids || exit 1
			pids=
		fi
	done
	wait
}

all "$out/o" "$@"
all "$out/other" -DPUGD_TEST_SHM_PAD=64 "$@"
compile "$out/future.o" master/handover.c -DPUGD_TEST_HANDOVER=2 "$@"
# shellcheck disable=SC2086
{
	${CC:-gcc} "$@" -o "$out/pugd" "$out"/o/*.o $libs
	${CC:-gcc} "$@" -o "$out/pugd-other" "$out"/other/*.o $libs
	rm "$out/o/master_handover.c.o"
	${CC:-gcc} "$@" -o "$out/pugd-future" "$out"/o/*.o "$out/future.o" $libs
}
rm -rf "$out/o" "$out/other" "$out/future.o"
