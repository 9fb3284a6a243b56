"""Writes tables.c, tables.h and rules.h: what proto/pb.h says about each message."""

from google.protobuf import descriptor_pb2 as pb

import names
import pattern

F = pb.FieldDescriptorProto
TYPES = {
    F.TYPE_DOUBLE: "PB_DOUBLE", F.TYPE_FLOAT: "PB_FLOAT", F.TYPE_INT32: "PB_INT32",
    F.TYPE_SINT32: "PB_SINT32", F.TYPE_SFIXED32: "PB_SFIXED32", F.TYPE_UINT32: "PB_UINT32",
    F.TYPE_FIXED32: "PB_FIXED32", F.TYPE_INT64: "PB_INT64", F.TYPE_SINT64: "PB_SINT64",
    F.TYPE_SFIXED64: "PB_SFIXED64", F.TYPE_UINT64: "PB_UINT64", F.TYPE_FIXED64: "PB_FIXED64",
    F.TYPE_BOOL: "PB_BOOL", F.TYPE_ENUM: "PB_ENUM", F.TYPE_STRING: "PB_STRING",
    F.TYPE_BYTES: "PB_BYTES", F.TYPE_MESSAGE: "PB_MESSAGE",
}
WKT = {
    "Timestamp": "PB_TIMESTAMP", "Duration": "PB_DURATION", "Struct": "PB_STRUCT",
    "Value": "PB_VALUE", "ListValue": "PB_LIST_VALUE", "FieldMask": "PB_FIELD_MASK",
    "Any": "PB_ANY",
}
WRAPPED = ["Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes"]
WKT.update({name + "Value": "PB_WRAPPER" for name in WRAPPED})
BOOL_RULES = ["required", "email", "uuid", "defined_only", "not_zero", "finite", "unique", "https"]
SIZE_RULES = ["min_len", "max_len", "min_bytes", "max_bytes", "min_items", "max_items",
              "max_key_bytes"]
STRING_RULES = ["email", "uuid", "https", "min_len", "max_len", "min_bytes", "max_bytes",
                "pattern", "unique"]
NUMBERS = {t for t in TYPES} - {F.TYPE_BOOL, F.TYPE_ENUM, F.TYPE_STRING, F.TYPE_BYTES,
                                F.TYPE_MESSAGE}


class RuleError(Exception):
    """A rule that its field cannot have; the message names both."""


def wkt_of(full_name):
    package, _, name = full_name.rpartition(".")
    return WKT.get(name, "PB_PLAIN") if package == "google.protobuf" else "PB_PLAIN"


def check_rule(where, field, rule):
    """Refuses rules that would silently never apply."""
    given = {d.name for d, _ in rule.ListFields()}
    wrong = set()
    if field.type != F.TYPE_STRING:
        wrong |= given & set(STRING_RULES)
    if field.type != F.TYPE_ENUM:
        wrong |= given & {"defined_only", "not_zero"}
    if field.type not in (F.TYPE_DOUBLE, F.TYPE_FLOAT):
        wrong |= given & {"finite"}
    if field.type not in NUMBERS:
        wrong |= given & {"min", "max"}
    if not field.repeated:
        wrong |= given & {"min_items", "max_items", "unique"}
    if not field.map:
        wrong |= given & {"key_pattern", "max_key_bytes"}
    if ("min" in given) != ("max" in given):
        wrong |= given & {"min", "max"}
    if field.repeated or field.oneof >= 0:
        wrong |= given & {"required"}
    if wrong:
        raise RuleError("%s: rule %s does not fit this field" % (where, ", ".join(sorted(wrong))))


class Writer:
    def __init__(self, schema, include_prefix):
        self.schema = schema
        self.prefix = include_prefix
        self.patterns = {}  # text -> C name
        self.rules = {}     # initialiser -> C name
        self.head = []      # patterns and rules, in order of first use

    def headers(self, messages):
        files = sorted({m.file.name for m in messages})
        return ['#include "%s%s.pb-c.h"' % (self.prefix, f[:-len(".proto")]) for f in files]

    def pattern(self, where, text):
        if text in self.patterns:
            return self.patterns[text]
        try:
            dfa = pattern.Pattern(text)
        except Exception as error:
            raise RuleError("%s: pattern %s: %s" % (where, text, error)) from error
        name = "pattern_%d" % len(self.patterns)
        self.patterns[text] = name
        self.head += ["/* %s */" % text.replace("*/", "* /"),
                      "static const uint8_t %s_class[256] = {" % name]
        for i in range(0, 256, 32):
            self.head.append("\t" + ", ".join(str(c) for c in dfa.class_of[i:i + 32]) + ",")
        self.head += ["};", "static const uint8_t %s_next[] = {" % name]
        self.head += ["\t" + ", ".join(str(t) for t in row) + "," for row in dfa.next]
        self.head += [
            "};",
            "static const uint8_t %s_accept[] = {%s};" % (
                name, ", ".join(str(int(a)) for a in dfa.accept)),
            "static const struct pb_pattern %s = {" % name,
            "\t.text = %s, .class_of = %s_class, .next = %s_next, .classes = %d," % (
                names.c_string(text), name, name, dfa.classes),
            "\t.accept = %s_accept" % name, "};", ""]
        return name

    def rule(self, where, field):
        """C expression for the field's rule."""
        if field.rule is None:
            return "NULL"
        rule = field.rule
        check_rule(where, field, rule)
        parts = [".%s = true" % n for n in BOOL_RULES if getattr(rule, n)]
        parts += [".%s = %d" % (n, getattr(rule, n)) for n in SIZE_RULES if getattr(rule, n)]
        if rule.HasField("min"):
            parts.append(".has_range = true, .min = %r, .max = %r" % (rule.min, rule.max))
        for member in ("pattern", "key_pattern"):
            if rule.HasField(member):
                parts.append(".%s = &%s" % (member, self.pattern(where, getattr(rule, member))))
        if not parts:
            return "NULL"
        text = ", ".join(parts)
        if text not in self.rules:
            self.rules[text] = "rule_%d" % len(self.rules)
            self.head += ["static const struct pb_rule %s = {%s};" % (self.rules[text], text), ""]
        return "&" + self.rules[text]

    def field(self, message, field):
        where = message.full_name + "." + field.name
        ctype, member = names.c_type(message.full_name), names.c_member(field.name)
        label, quantifier = "PB_OPTIONAL", "0"
        if field.map:
            label = "PB_MAP"
        elif field.repeated:
            label = "PB_REPEATED"
        elif field.oneof >= 0:
            label = "PB_ONEOF"
            case = names.c_oneof_case(message.oneofs[field.oneof].name)
            quantifier = "offsetof(%s, %s)" % (ctype, case)
        elif field.implicit:
            label = "PB_IMPLICIT"
        if field.repeated:
            quantifier = "offsetof(%s, n_%s)" % (ctype, member)
        elif label == "PB_OPTIONAL" and field.type not in (F.TYPE_STRING, F.TYPE_MESSAGE):
            quantifier = "offsetof(%s, has_%s)" % (ctype, member)
        target = "&pb_msg_" + names.symbol(field.type_name) if field.type == F.TYPE_MESSAGE \
            else "NULL"
        enum = "&pb_enum_" + names.symbol(field.type_name) if field.type == F.TYPE_ENUM else "NULL"
        return [
            "\t{%s, %s, %d, %s, %s, %d, %d," % (
                names.c_string(field.name), names.c_string(field.json_name), field.number,
                TYPES[field.type], label, int(field.packed), field.oneof),
            "\t\toffsetof(%s, %s), %s," % (ctype, member, quantifier),
            "\t\t%s, %s, %s}," % (target, enum, self.rule(where, field))]

    def message(self, message, planned):
        name = names.symbol(message.full_name)
        out = []
        if message.fields:
            out.append("static const struct pb_field %s_fields[] = {" % name)
            for field in message.fields:
                out += self.field(message, field)
            out.append("};")
        if message.oneofs:
            out.append("static const struct pb_oneof %s_oneofs[] = {%s};" % (name, ", ".join(
                "{%s, %s}" % (names.c_string(o.name), str(o.required).lower())
                for o in message.oneofs)))
        check = "rule_" + message.check if message.check else "NULL"
        out += [
            "const struct pb_msg pb_msg_%s = {" % name,
            "\t.name = %s, .pc = &%s," % (names.c_string(message.full_name),
                                         names.c_descriptor(message.full_name)),
            "\t.fields = %s, .n_fields = %d, .wkt = %s," % (
                name + "_fields" if message.fields else "NULL", len(message.fields),
                wkt_of(message.full_name)),
            "\t.oneofs = %s, .n_oneofs = %d," % (
                name + "_oneofs" if message.oneofs else "NULL", len(message.oneofs)),
            "\t.check = %s, .has_rules = %s" % (
                "NULL" if check in planned else check,
                str(message.full_name in self.schema.with_rules).lower()),
            "};", ""]
        return out

    def enum(self, full_name, enum):
        name = names.symbol(full_name)
        out = ["static const struct pb_enum_value %s_values[] = {" % name]
        out += ["\t{%s, %d}," % (names.c_string(v.name), v.number) for v in enum.value]
        out += ["};", "const struct pb_enum pb_enum_%s = {" % name,
                "\t%s, %s_values, %d" % (names.c_string(full_name), name, len(enum.value)),
                "};", ""]
        return out


def checks(schema):
    return sorted({m.check for m in schema.messages.values() if m.check})


def write_tables(schema, include_prefix, planned):
    writer = Writer(schema, include_prefix)
    messages = list(schema.messages.values())
    body = []
    for full_name, enum in schema.enums.items():
        body += writer.enum(full_name, enum)
    for message in messages:
        body += writer.message(message, planned)
    in_order = sorted(messages, key=lambda m: m.full_name.encode())
    body.append("const struct pb_msg *const pb_messages[] = {")
    body += ["\t&pb_msg_%s," % names.symbol(m.full_name) for m in in_order]
    body += ["};", "const size_t pb_n_messages = %d;" % len(in_order)]
    return "\n".join(["/* Made by proto/gen from the protos. */", "#include <stddef.h>",
                      '#include "proto/pb.h"', '#include "tables.h"', '#include "rules.h"']
                     + writer.headers(messages) + [""] + writer.head + body) + "\n"


def write_tables_h(schema):
    out = ["/* Made by proto/gen from the protos: a table for each message and enum. */",
           "#ifndef GEN_TABLES_H", "#define GEN_TABLES_H", '#include "proto/pb.h"', ""]
    out += ["extern const struct pb_msg pb_msg_%s;" % names.symbol(n) for n in schema.messages]
    out += ["extern const struct pb_enum pb_enum_%s;" % names.symbol(n) for n in schema.enums]
    out += ["/* All messages by full name, for bsearch. */",
            "extern const struct pb_msg *const pb_messages[];",
            "extern const size_t pb_n_messages;", "#endif"]
    return "\n".join(out) + "\n"


def write_rules_h(schema):
    out = ["/* Made by proto/gen: the functions that message options `check` name. */",
           "#ifndef GEN_RULES_H", "#define GEN_RULES_H", '#include "proto/pb.h"', ""]
    for name in checks(schema):
        users = [m.full_name for m in schema.messages.values() if m.check == name]
        out += ["/* of %s */" % ", ".join(users),
                "void rule_%s(struct pb_check *check, const ProtobufCMessage *message);" % name]
    out.append("#endif")
    return "\n".join(out) + "\n"
