#!/bin/sh
# Writes what is made from the table of settings: refresh.sh PATH-OF-PUGD
set -eu
pugd=$(realpath "$1")
cd "$(dirname "$0")"
"$pugd" options --sample > pugd.conf
{
	sed '/^\.\\" options begin$/q' pugd.conf.5
	"$pugd" options --man
	sed -n '/^\.\\" options end$/,$p' pugd.conf.5
} > pugd.conf.5.new
mv pugd.conf.5.new pugd.conf.5
