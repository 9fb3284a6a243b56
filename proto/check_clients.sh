#!/bin/sh
# Lints the protos, generates every client that README.md documents, and compiles
# or imports each one. A language whose programs are not on this machine is skipped
# and named; any failure in one that is there, fetching included, ends the run with
# status 1.
#
# Needs `npm install` in this folder first. TypeScript and Python need no network
# after that, Go not after its first run; Java fetches its runtime into ~/.m2.
#
# usage: check_clients.sh [folder]           default: build/clients
#        check_clients.sh folder one_step    (a function below; used by itself)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:-$here/../build/clients}"
out=$(cd "${1:-$here/../build/clients}" && pwd)
buf=$here/node_modules/.bin/buf
failed=0

GO_PROTOBUF=v1.36.11
GO_CONNECT=v1.19.1
# Kept from one run to the next: `go install` asks the network even for what it has.
go_tools=$(cd "$here/.." && pwd)/build/go-tools/$GO_PROTOBUF-$GO_CONNECT

say() { printf 'clients: %-8s %s\n' "$1" "$2"; }

# generate TEMPLATE FOLDER: the templates write to ../gen, here FOLDER/gen.
generate() {
	rm -rf "$2/gen"
	mkdir -p "$2/proto"
	(cd "$here" && "$buf" generate --template "$1" -o "$2/proto")
}

# step FUNCTION: in a shell of its own, because `set -e` sleeps inside conditions.
step() {
	"$here/check_clients.sh" "$out" "$1"
}

# run NAME FUNCTION: the output appears only when it fails.
run() {
	if step "$2" >"$out/$1.log" 2>&1; then
		say "$1" "$(tail -n 1 "$out/$1.log")"
	else
		say "$1" "FAILED"
		cat "$out/$1.log"
		failed=1
	fi
}

# link_modules FOLDER: packages of this folder, seen from a generated project.
link_modules() {
	mkdir -p "$1/node_modules/@bufbuild" "$1/node_modules/@connectrpc"
	ln -sfn "$here/node_modules/$2" "$1/node_modules/@bufbuild/protobuf"
	ln -sfn "$here/node_modules/@connectrpc/connect" "$1/node_modules/@connectrpc/connect"
}

compile_ts() {
	cat >"$1/tsconfig.json" <<-'EOF'
		{
		  "compilerOptions": {
		    "strict": true, "target": "es2022", "module": "esnext", "moduleResolution": "bundler",
		    "lib": ["es2022", "dom"], "types": [], "skipLibCheck": true, "outDir": "js"
		  },
		  "include": ["app.ts", "gen/**/*.ts"]
		}
	EOF
	"$here/node_modules/.bin/tsc" -p "$1"
}

lint() {
	cd "$here"
	"$buf" lint
	"$buf" build -o "$out/api.binpb"
	echo "ok"
}

ts_v1() {
	generate buf.gen.yaml "$out/ts1"
	link_modules "$out/ts1" @bufbuild/protobuf
	cat >"$out/ts1/app.ts" <<-'EOF'
		import { createPromiseClient, type Transport } from "@connectrpc/connect";
		import { EventsService } from "./gen/events/v1/events_connect";
		import { ProfilesService } from "./gen/profiles/v1/profiles_connect";

		export async function track(transport: Transport): Promise<number | undefined> {
		  const client = createPromiseClient(EventsService, transport);
		  const answer = await client.batchCreate({
		    events: [{ name: "sign_up", distinctId: "u1", customProperties: {} }],
		  });
		  for await (const page of createPromiseClient(ProfilesService, transport).listAll({}))
		    console.log(page.profiles.length);
		  return answer.accepted;
		}
	EOF
	compile_ts "$out/ts1"
	echo "ok: connect-es v1, $(find "$out/ts1/gen" -name '*_connect.ts' | wc -l) service files"
}

ts_v2() {
	generate buf.gen.es2.yaml "$out/ts2"
	link_modules "$out/ts2" protobuf-es-v2
	cat >"$out/ts2/app.ts" <<-'EOF'
		import { create, toBinary } from "@bufbuild/protobuf";
		import { BatchCreateRequestSchema, EventsService } from "./gen/events/v1/events_pb";

		const request = create(BatchCreateRequestSchema, { events: [{ kind: "sign_up" }] });
		console.log(EventsService.typeName, toBinary(BatchCreateRequestSchema, request).length);
	EOF
	compile_ts "$out/ts2"
	echo "ok: connect-es v2"
}

python() {
	generate buf.gen.python.yaml "$out/python"
	cd "$out/python/gen"
	/usr/bin/python3 -EB - <<-'EOF'
		import glob, importlib
		modules = [p[:-3].replace("/", ".") for p in sorted(glob.glob("**/*_pb2.py", recursive=True))]
		for module in modules:
		    importlib.import_module(module)
		from events.v1 import events_pb2
		event = events_pb2.Event(kind="sign_up", cookieless=False)
		assert event.HasField("cookieless") and not event.HasField("name")
		print("ok: %d modules" % len(modules))
	EOF
}

go_fetch() {
	mkdir -p "$out/go" "$go_tools"
	[ -x "$go_tools/protoc-gen-go" ] ||
		GOBIN=$go_tools go install "google.golang.org/protobuf/cmd/protoc-gen-go@$GO_PROTOBUF"
	[ -x "$go_tools/protoc-gen-connect-go" ] ||
		GOBIN=$go_tools go install "connectrpc.com/connect/cmd/protoc-gen-connect-go@$GO_CONNECT"
	cat >"$out/go/go.mod" <<-EOF
		module example.com/app

		go 1.24

		require (
			connectrpc.com/connect $GO_CONNECT
			google.golang.org/protobuf $GO_PROTOBUF
		)
	EOF
	cd "$out/go"
	GOFLAGS=-mod=mod go list -deps connectrpc.com/connect \
		google.golang.org/protobuf/types/known/structpb >/dev/null
}

go_build() {
	go_fetch
	PATH=$go_tools:$PATH
	generate buf.gen.go.yaml "$out/go"
	cd "$out/go"
	GOFLAGS=-mod=mod go vet ./gen/...
	echo "ok: connect-go $GO_CONNECT"
}

java_jar_here() {
	for jar in /usr/share/java/protobuf.jar /usr/share/java/protobuf-java.jar "$out/java/protobuf.jar"; do
		[ ! -f "$jar" ] || { echo "$jar"; return 0; }
	done
	return 1
}

# The jar must be as new as the protoc that wrote the code.
java_jar() {
	mkdir -p "$out/java"
	java_jar_here >"$out/java/jar" && return 0
	version=$(protoc --version | sed 's/.* //')
	mvn -q -B dependency:copy -Dartifact="com.google.protobuf:protobuf-java:$version" \
		-Dmdep.stripVersion=true -DoutputDirectory="$out/java/lib" >"$out/java/mvn.log" 2>&1 || {
		cat "$out/java/mvn.log"
		return 1
	}
	cp "$out/java/lib/protobuf-java.jar" "$out/java/protobuf.jar"
	echo "$out/java/protobuf.jar" >"$out/java/jar"
}

java() {
	java_jar
	generate buf.gen.java.yaml "$out/java"
	find "$out/java/gen" -name '*.java' >"$out/java/sources"
	mkdir -p "$out/java/classes"
	javac -nowarn -d "$out/java/classes" -cp "$(tail -n 1 "$out/java/jar")" "@$out/java/sources"
	echo "ok: $(wc -l <"$out/java/sources") classes compiled"
}

[ -z "${2-}" ] || { "$2"; exit; }
[ -x "$buf" ] || { say buf "not installed: run npm install in proto"; exit 1; }
run lint lint
run ts-v1 ts_v1
run ts-v2 ts_v2
if /usr/bin/python3 -c 'import google.protobuf' 2>/dev/null && command -v protoc >/dev/null; then
	run python python
else
	say python "skipped: no protoc or no python3-protobuf"
fi
if command -v go >/dev/null; then
	run go go_build
else
	say go "skipped: no go"
fi
if ! command -v javac >/dev/null || ! command -v protoc >/dev/null; then
	say java "skipped: no javac or no protoc"
elif ! java_jar_here >/dev/null && ! command -v mvn >/dev/null; then
	say java "skipped: neither Debian's libprotobuf-java nor mvn"
else
	run java java
fi
exit $failed
