#!/bin/sh
# Installs the npm packages of the proto tools, the test clients and the OpenID provider where they are
# missing or their lock file changed; does nothing (and needs no network) otherwise.
# `npm install` and not `npm ci`: the lock cannot name the other platforms' builds of
# buf where the registry at hand does not have them, and `ci` insists on them.
set -eu
for folder in proto tests/clients/v1 tests/clients/v2 tests/oidc; do
	stamp=$folder/node_modules/.pugd-lock
	if ! cmp -s "$folder/package-lock.json" "$stamp" 2>/dev/null; then
		echo "Installing npm packages in $folder"
		(cd "$folder" && npm install --no-save --no-progress --loglevel=error >/dev/null)
		cp "$folder/package-lock.json" "$stamp"
	fi
done
