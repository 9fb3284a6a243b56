#!/bin/sh
# Runs the public Connect conformance suite against SERVER (built by make) and
# insists on the known number of cases with none failing. There is no list of
# known failures. Go is needed; that it is missing fails, it never skips.
set -eu

SERVER=$(realpath "${1:?usage: run.sh SERVER}")
HERE=$(dirname "$(realpath "$0")")
VERSION=v1.0.7
WANT_GO=1.26.0
CASES=172
OUT=$(dirname "$(dirname "$HERE")")/build/conformance
RUNNER=$OUT/bin/$VERSION/connectconformance

# Any Go from 1.21 on fetches the toolchain that a module asks for by itself; an
# older one (Debian 12: 1.19) gets it as the module golang.org/toolchain.
go_minor() {
	"$1" env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p'
}

find_go() {
	minor=$(go_minor go || true)
	if [ -z "$minor" ]; then
		SUDO=
		[ "$(id -u)" = 0 ] || SUDO="sudo -n"
		$SUDO apt-get install -y -q golang-go >&2 || {
			echo "conformance: no Go and it could not be installed" >&2
			exit 1
		}
		minor=$(go_minor go)
	fi
	if [ "$minor" -ge 21 ]; then
		GO=go
		export GOTOOLCHAIN=auto
		return
	fi
	fetch_toolchain
}

# The module's zip holds a whole toolchain; the module cache drops its mode bits.
fetch_toolchain() {
	arch=$(go env GOARCH)
	mod="golang.org/toolchain@v0.0.1-go$WANT_GO.linux-$arch"
	dir=$(cd / && GOFLAGS=-mod=mod \
		go mod download -json "$mod" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
	[ -n "$dir" ] || { echo "conformance: $mod could not be fetched" >&2; exit 1; }
	mkdir -p "$OUT/go"
	cp -r "$dir/." "$OUT/go/"
	chmod -R u+rwX "$OUT/go"
	chmod +x "$OUT/go/bin/"* "$OUT/go/pkg/tool/linux_$arch/"*
	GO=$OUT/go/bin/go
	export GOTOOLCHAIN=auto
}

if [ ! -x "$RUNNER" ]; then
	find_go
	mkdir -p "$(dirname "$RUNNER")"
	GOBIN=$(dirname "$RUNNER") GOFLAGS= "$GO" install \
		"connectrpc.com/conformance/cmd/connectconformance@$VERSION"
fi

LOG=$OUT/report.txt
status=0
timeout 300 "$RUNNER" --mode server --conf "$HERE/config.yaml" -v -- "$SERVER" \
	>"$LOG" 2>&1 || status=$?
if [ "$status" != 0 ]; then
	grep -v '^PASSED' "$LOG" | tail -n 200
fi
grep -E '^(Total cases|[0-9]+ passed|[0-9]+ failed)' "$LOG" | tail -n 4 || true
total=$(sed -n 's/^Total cases: *\([0-9]*\).*/\1/p' "$LOG" | tail -n 1)
if [ "$status" != 0 ]; then
	echo "conformance: failed, see $LOG" >&2
	exit 1
fi
if [ "$total" != "$CASES" ]; then
	echo "conformance: ${total:-no} cases instead of $CASES: config or suite changed" >&2
	exit 1
fi
echo "conformance: $total cases, 0 failures"
