#!/bin/sh
# Builds and tests the committed tree in a fresh Debian 13 made with debootstrap.
# Needs root. Everything happens in a temporary folder and a mount namespace of
# its own, so nothing stays behind. Usage: debian13.sh [make target...]
# SUITE=bookworm does the same in Debian 12.
set -eu

[ "$(id -u)" = 0 ] || { echo "debian13: needs root (debootstrap and chroot)" >&2; exit 1; }
command -v debootstrap >/dev/null 2>&1 || {
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq debootstrap >/dev/null
}
top=$(git rev-parse --show-toplevel)
work=$(mktemp -d /tmp/pugd-debian13.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root
# The mirror that this machine itself uses.
mirror=$(awk '$1 == "URIs:" { print $2; exit } $1 == "deb" { print $2; exit }' \
	/etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null || true)
suite=${SUITE:-trixie}
echo "debian13: bootstrapping $suite"
debootstrap --variant=minbase "$suite" "$root" $mirror >"$work/log" 2>&1 || {
	tail -20 "$work/log"
	exit 1
}
cp /etc/resolv.conf /etc/hosts "$root/etc/" 2>/dev/null || true
for f in /etc/apt/apt.conf.d/*proxy*; do
	[ -e "$f" ] && cp "$f" "$root/etc/apt/apt.conf.d/"
done
# What this machine trusts (a registry mirror of its own, for example).
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/host-ca.crt" 2>/dev/null || : >"$root/etc/host-ca.crt"
mkdir -p "$root/work"
git -C "$top" archive --prefix=main/ HEAD | tar -x -C "$root/work"
export WORK_ROOT=$root TARGETS="${*:-test}"
registry=$(npm config get registry 2>/dev/null || true)
export NPM_CONFIG_REGISTRY=$registry
unshare --mount --pid --fork sh -eu -c '
	mount --make-rprivate /
	mount --rbind /dev "$WORK_ROOT/dev"
	mount -t proc proc "$WORK_ROOT/proc"
	mount -t sysfs sys "$WORK_ROOT/sys" 2>/dev/null || true
	mount -t tmpfs tmpfs "$WORK_ROOT/tmp"
	exec chroot "$WORK_ROOT" env -i HOME=/root LANG=C.UTF-8 CI="${CI:-}" \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		npm_config_registry="$NPM_CONFIG_REGISTRY" NODE_EXTRA_CA_CERTS=/etc/host-ca.crt \
		DEBIAN_FRONTEND=noninteractive sh -eu -c "
			apt-get update -qq
			apt-get install -y -qq --no-install-recommends make git ca-certificates >/dev/null
			cd /work/main
			# The shape checks ask git which files there are.
			git init -q . && git add -A
			make --no-print-directory $TARGETS"'
echo "debian13: ok ($suite)"
