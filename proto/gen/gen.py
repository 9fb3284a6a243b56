#!/usr/bin/python3
"""Makes everything that the C build derives from the protos.

Reads a FileDescriptorSet (protoc --include_imports --include_source_info) and
fills a folder with

  <prefix>**/*.pb-c.[ch]  protobuf-c's structs, through protoc and protoc-gen-c
  tables.c tables.h       a struct pb_msg for each message
  methods.c rpc.h         the table of methods and the prototypes of handlers
  rules.h                 prototypes of the rules that message options name

The same input gives the same bytes, and a file is written only when it differs,
so make rebuilds no more than it must.
"""

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

from google.protobuf import descriptor_pb2 as pb

import methods
import names
import schema as schemas
import tables


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("set", help="FileDescriptorSet to read")
    parser.add_argument("out", help="folder to fill")
    parser.add_argument("--planned", action="append", default=[],
                        help="file of handlers and rules that are not written yet (repeatable)")
    parser.add_argument("--prefix", default="proto/", help="folder of protobuf-c's output in out")
    parser.add_argument("--methods-symbol", default="pb_product_methods")
    parser.add_argument("--methods-package", action="append", default=[],
                        help="only services of packages that start so (repeatable)")
    parser.add_argument("--default-authz", choices=["public"],
                        help="allow methods without options, with this authz")
    parser.add_argument("--protoc", default="protoc")
    return parser.parse_args()


def read_planned(paths, known):
    """Names in the files, one a line, # starts a comment. Unknown ones are an error,
    so that a line cannot outlive a renamed method."""
    planned = set()
    for path in paths:
        with open(path) as file:
            lines = {line.split("#")[0].strip() for line in file} - {""}
        unknown = sorted(lines - known)
        if unknown:
            raise SystemExit("%s: not in the protos: %s" % (path, ", ".join(unknown)))
        planned |= lines
    return planned


def write(path, text):
    """Writes text unless the file holds it already."""
    try:
        with open(path) as file:
            if file.read() == text:
                return
    except FileNotFoundError:
        pass
    with open(path + ".tmp", "w") as file:
        file.write(text)
    os.replace(path + ".tmp", path)


def run_protobuf_c(args, fds):
    """protoc-gen-c writes files anew each time, so it writes aside and changes are moved."""
    with tempfile.TemporaryDirectory(dir=args.out) as aside:
        path = os.path.join(aside, "set.pb")
        with open(path, "wb") as file:
            file.write(fds.SerializeToString(deterministic=True))
        c_out = os.path.join(aside, "c")
        os.mkdir(c_out)
        subprocess.run([args.protoc, "--descriptor_set_in=" + path, "--c_out=" + c_out]
                       + [f.name for f in fds.file], check=True)
        for folder, _, files in os.walk(c_out):
            for name in files:
                source = os.path.join(folder, name)
                target = os.path.join(args.out, os.path.relpath(source, c_out))
                os.makedirs(os.path.dirname(target), exist_ok=True)
                if not os.path.exists(target) or not filecmp.cmp(source, target, shallow=False):
                    shutil.move(source, target)


def main():
    args = parse_args()
    with open(args.set, "rb") as file:
        schema = schemas.Schema(pb.FileDescriptorSet.FromString(file.read()))
    default = args.default_authz.upper() if args.default_authz else None
    found = methods.entries(schema, args.methods_package, default)
    known = {names.handler(m.package, m.service, m.name) for m in schema.methods}
    known |= {"rule_" + c for c in tables.checks(schema)}
    planned = read_planned(args.planned, known)
    os.makedirs(args.out, exist_ok=True)
    run_protobuf_c(args, schemas.for_protobuf_c(schema, args.prefix))
    for name, text in {
            "tables.h": tables.write_tables_h(schema),
            "rules.h": tables.write_rules_h(schema),
            "tables.c": tables.write_tables(schema, args.prefix, planned),
            "rpc.h": methods.write_rpc_h(schema, found, args.prefix,
                                         "GEN_RPC_" + names.snake(args.methods_symbol).upper()),
            "methods.c": methods.write_methods_c(found, planned, args.methods_symbol, "rpc.h"),
    }.items():
        write(os.path.join(args.out, name), text)


if __name__ == "__main__":
    try:
        main()
    except (tables.RuleError, methods.MethodError) as error:
        sys.exit("proto/gen: %s" % error)
