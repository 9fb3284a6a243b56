#!/bin/sh
# Installs the Debian packages that a target needs, and only the missing ones,
# so that a machine that has them works offline. Usage: deps.sh run|test
set -eu

build="gcc make pkg-config libc6-dev libpq-dev libssl-dev zlib1g-dev liblz4-dev libjwt-dev
libcurl4-openssl-dev libjansson-dev libcrypt-dev protobuf-compiler libprotobuf-dev libprotobuf-c-dev protobuf-c-compiler
libpcre2-dev libmaxminddb-dev uap-core
python3-minimal python3-protobuf python3-yaml tzdata"
# The server's own tools: a private PostgreSQL, and curl for the printed examples.
run="postgresql postgresql-client curl ca-certificates"
test="libcriterion-dev clang clang-format-14 pgbouncer mandoc systemd openssl git procps
util-linux python3 python3-aiosmtpd"

have() {
	dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

known() {
	apt-cache show "$1" >/dev/null 2>&1
}

want=
need() {
	have "$1" || want="$want $1"
}

case "${1:-run}" in
run) list="$build $run" ;;
test) list="$build $run $test" ;;
*) echo "usage: deps.sh run|test" >&2; exit 2 ;;
esac

# The sanitizers' headers and libraries for the fuzz targets come with a package that
# is named after Debian's clang and that nothing else pulls in.
[ "${1:-run}" != test ] || case $(. /etc/os-release; echo "${VERSION_ID:-}") in
12) list="$list libclang-rt-14-dev" ;;
*) list="$list libclang-rt-19-dev" ;;
esac

for package in $list; do
	# Debian 13 has clang-format 19 only; the format check runs where 14 exists.
	case $package in
	clang-format-14) [ "$(. /etc/os-release; echo "${VERSION_ID:-}")" = 12 ] || continue ;;
	esac
	need "$package"
done
# Node and npm: Debian's, unless the machine has its own.
if [ "${1:-run}" = test ]; then
	command -v node >/dev/null 2>&1 || need nodejs
	command -v npm >/dev/null 2>&1 || need npm
fi
# llhttp: a library where Debian has one (13), else the C sources in node-llhttp (12).
if ! have libllhttp-dev && ! have node-llhttp; then
	[ -n "$(ls /var/lib/apt/lists/*_Packages 2>/dev/null)" ] || update=1
	if known libllhttp-dev; then need libllhttp-dev; else need node-llhttp; fi
fi
[ -n "$want" ] || exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null 2>&1 || {
		echo "These packages are missing and neither root nor sudo is at hand:$want" >&2
		exit 1
	}
	sudo=sudo
fi
echo "Installing:$want"
export DEBIAN_FRONTEND=noninteractive
# An old package list names versions that the mirror no longer has: refresh first.
$sudo apt-get update -qq
if ! have libllhttp-dev && ! have node-llhttp && known libllhttp-dev; then
	want=$(echo "$want" | sed 's/node-llhttp/libllhttp-dev/')
fi
# Debian starts a system-wide cluster on install; ours is private, so ask it not to.
$sudo env DEBIAN_FRONTEND=noninteractive sh -c '
	if [ ! -e /etc/postgresql-common/createcluster.conf ] && [ ! -d /etc/postgresql ]; then
		mkdir -p /etc/postgresql-common
		echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
	fi
	exec apt-get install -y -qq --no-install-recommends "$@"' sh $want >/dev/null
