"""Writes rpc.h (prototypes of handlers) and methods.c (the dispatch table)."""

import names

AUTHZ = {1: "PUBLIC", 2: "SELF", 3: "ORG", 4: "PROJECT", 5: "SDK", 6: "SHARED"}
ROLE = {0: "NONE", 1: "ADMIN", 2: "MEMBER", 3: "VIEWER"}
RATE = {1: "READ", 2: "WRITE", 3: "AUTH", 4: "INGEST", 5: "QUERY"}
WITH_ROLE = ("ORG", "PROJECT", "SHARED")


class MethodError(Exception):
    """A method that must not be built; the message names it."""


class Entry:
    """A method with what its options say, checked."""

    def __init__(self, schema, method, default_authz):
        self.method = method
        self.handler = names.handler(method.package, method.service, method.name)
        options = method.options
        if options is None and default_authz is None:
            raise MethodError("%s has no authz option" % method.path)
        self.authz = AUTHZ.get(options.authz if options else 0) or default_authz
        if self.authz is None:
            raise MethodError("%s has no authz option" % method.path)
        self.rate = RATE.get(options.rate if options else 0)
        if self.rate is None:
            if default_authz is None:
                raise MethodError("%s has no rate class" % method.path)
            self.rate = "WRITE"
        self.role = ROLE[options.role if options else 0]
        if (self.authz in WITH_ROLE) != (self.role != "NONE"):
            raise MethodError("%s: a role goes with authz %s, and only with those" % (
                method.path, ", ".join(WITH_ROLE)))
        fields = {f.name for f in schema.messages[method.input].fields}
        if self.authz == "ORG" and "org_id" not in fields:
            raise MethodError("%s: AUTHZ_ORG needs org_id in %s" % (method.path, method.input))
        self.aliases = ["/" + a.lstrip("/") for a in options.alias] if options else []

    def in_type(self):
        return names.c_type(self.method.input)

    def out_type(self):
        return names.c_type(self.method.output)


def entries(schema, packages, default_authz):
    """Entries of the methods whose package starts with one of packages (all if none)."""
    found = [Entry(schema, m, default_authz) for m in schema.methods
             if not packages or any(m.package.startswith(p) for p in packages)]
    seen = {}
    for entry in found:
        for path in [entry.method.path] + entry.aliases:
            if path in seen:
                raise MethodError("%s is a path of two methods" % path)
            seen[path] = entry
    handlers = {}
    for entry in found:
        if handlers.setdefault(entry.handler, entry) is not entry:
            raise MethodError("%s: handler %s exists already" % (
                entry.method.path, entry.handler))
    return found


def prototype(entry):
    """A handler's prototype. Server streams get the same shape: they send their
    messages themselves."""
    return ["int %s(struct call *c, const %s *in," % (entry.handler, entry.in_type()),
            "\t%s *out);" % entry.out_type()]


def write_rpc_h(schema, found, include_prefix, guard):
    files = sorted({schema.messages[t].file.name
                    for e in found for t in (e.method.input, e.method.output)})
    out = ["/* Made by proto/gen from the protos: one handler for each method. */",
           "#ifndef %s" % guard, "#define %s" % guard]
    out += ['#include "%s%s.pb-c.h"' % (include_prefix, f[:-len(".proto")]) for f in files]
    out += ["", "struct call;"]
    for entry in found:
        out += ["", "/* %s */" % entry.method.path] + prototype(entry)
    return "\n".join(out + ["", "#endif"]) + "\n"


def write_methods_c(found, planned, table_symbol, rpc_header):
    out = ["/* Made by proto/gen from the protos: the table of methods. */", "#include <stddef.h>",
           '#include "proto/pb.h"', '#include "tables.h"', '#include "%s"' % rpc_header,
           "", "extern const struct pb_methods %s;" % table_symbol, ""]
    for entry in found:
        if entry.handler in planned:
            continue
        out += ["static int do_%s(struct call *c, const void *in, void *out)" % entry.handler,
                "{", "\treturn %s(c, in, out);" % entry.handler, "}", ""]
    for number, entry in enumerate(found):
        if entry.aliases:
            out += ["static const char *const aliases_%d[] = {" % number]
            out += ["\t%s," % names.c_string(a) for a in entry.aliases]
            out += ["\tNULL", "};"]
    if any(not e.aliases for e in found):
        out.append("static const char *const no_aliases[] = {NULL};")
    out += ["", "static const struct pb_method methods[] = {"]
    for number, entry in enumerate(found):
        m = entry.method
        out += [
            "\t{",
            "\t\t.service = %s, .name = %s," % (
                names.c_string(m.package + "." + m.service), names.c_string(m.name)),
            "\t\t.path = %s," % names.c_string(m.path),
            "\t\t.aliases = %s," % ("aliases_%d" % number if entry.aliases else "no_aliases"),
            "\t\t.in = &pb_msg_%s," % names.symbol(m.input),
            "\t\t.out = &pb_msg_%s," % names.symbol(m.output),
            "\t\t.authz = PB_AUTHZ_%s, .role = PB_ROLE_%s, .rate = PB_RATE_%s," % (
                entry.authz, entry.role, entry.rate),
            "\t\t.no_side_effects = %s, .server_stream = %s," % (
                str(m.no_side_effects).lower(), str(m.server_stream).lower()),
            "\t\t.handler = %s" % ("NULL" if entry.handler in planned else "do_" + entry.handler),
            "\t},"]
    out += ["};", "", "static const struct pb_path paths[] = {"]
    paths = [(p, n) for n, e in enumerate(found) for p in [e.method.path] + e.aliases]
    out += ["\t{%s, %d}," % (names.c_string(p), n)
            for p, n in sorted(paths, key=lambda item: item[0].encode())]
    out += ["};", "", "const struct pb_methods %s = {methods, %d, paths, %d};" % (
        table_symbol, len(found), len(paths))]
    return "\n".join(out) + "\n"
