"""The schema: a FileDescriptorSet with our options read, and its copy for protobuf-c.

protoc-gen-c 1.4 refuses proto3 `optional`, so the copy is rewritten to proto2,
where every singular field has presence. Bytes on the wire do not change.
"""

from google.protobuf import descriptor_pb2 as pb
from google.protobuf import descriptor_pool, message_factory

OPTIONS_PACKAGE = "pug.options."
GOOGLE = "google/protobuf/"
DESCRIPTOR_FILE = GOOGLE + "descriptor.proto"
F = pb.FieldDescriptorProto
PACKABLE = {t for t in range(1, 19)} - {F.TYPE_STRING, F.TYPE_BYTES, F.TYPE_MESSAGE, F.TYPE_GROUP}


class Options:
    """Reads the options of pug.options.v1, wherever the set has that package."""

    NAMES = {"method": "MethodOptions", "rule": "FieldOptions", "message": "MessageOptions",
             "oneof": "OneofOptions"}

    def __init__(self, fds):
        pool = descriptor_pool.DescriptorPool()
        for file in fds.file:
            pool.Add(file)
        self.readers = {}
        for name, holder in self.NAMES.items():
            try:
                extension = pool.FindExtensionByName("pug.options.v1." + name)
            except KeyError:
                continue
            message = pool.FindMessageTypeByName("google.protobuf." + holder)
            if hasattr(message_factory, "GetMessageClass"):
                cls = message_factory.GetMessageClass(message)
                message_factory.GetMessageClass(extension.message_type)
            else:
                factory = message_factory.MessageFactory(pool)
                factory.GetMessages([f.name for f in fds.file])
                cls = factory.GetPrototype(message)
            self.readers[name] = (cls, extension)

    def read(self, name, options):
        """The option message, or None."""
        if name not in self.readers:
            return None
        cls, extension = self.readers[name]
        parsed = cls.FromString(options.SerializeToString())
        return parsed.Extensions[extension] if parsed.HasExtension(extension) else None


class Oneof:
    def __init__(self, name, rule):
        self.name = name
        self.required = bool(rule and rule.required)


class Field:
    def __init__(self, proto, implicit, oneof, rule):
        self.proto = proto
        self.name = proto.name
        self.json_name = proto.json_name
        self.number = proto.number
        self.type = proto.type
        self.repeated = proto.label == F.LABEL_REPEATED
        self.implicit = implicit
        self.oneof = oneof  # index or -1
        self.rule = rule
        self.type_name = proto.type_name[1:]
        self.packed = self.repeated and proto.type in PACKABLE
        self.map = False  # set once all messages are known


class Message:
    def __init__(self, file, full_name, proto, options):
        self.file = file
        self.full_name = full_name
        self.map_entry = proto.options.map_entry
        rule = options.read("message", proto.options)
        self.check = rule.check if rule else ""
        synthetic = {f.oneof_index for f in proto.field if f.proto3_optional}
        real = [i for i in range(len(proto.oneof_decl)) if i not in synthetic]
        self.oneofs = [Oneof(proto.oneof_decl[i].name,
                             options.read("oneof", proto.oneof_decl[i].options)) for i in real]
        google = file.name.startswith(GOOGLE)
        self.fields = []
        for field in sorted(proto.field, key=lambda f: f.number):
            in_oneof = field.HasField("oneof_index") and field.oneof_index in real
            implicit = google and not in_oneof and field.type != F.TYPE_MESSAGE
            self.fields.append(Field(field, implicit,
                                     real.index(field.oneof_index) if in_oneof else -1,
                                     options.read("rule", field.options)))


class Method:
    def __init__(self, package, service, proto, options):
        self.package = package
        self.service = service
        self.name = proto.name
        self.path = "/%s.%s/%s" % (package, service, proto.name)
        self.input = proto.input_type[1:]
        self.output = proto.output_type[1:]
        self.client_stream = proto.client_streaming
        self.server_stream = proto.server_streaming
        self.no_side_effects = (proto.options.idempotency_level ==
                                pb.MethodOptions.NO_SIDE_EFFECTS)
        self.options = options.read("method", proto.options)


class Schema:
    """Messages, enums and methods of a set, in file order."""

    def __init__(self, fds):
        self.options = Options(fds)
        self.files = [f for f in fds.file
                      if f.name != DESCRIPTOR_FILE and not f.package.startswith(OPTIONS_PACKAGE)]
        self.messages, self.enums, self.methods = {}, {}, []
        for file in self.files:
            for message in file.message_type:
                self._message(file, file.package, message)
            for enum in file.enum_type:
                self.enums[file.package + "." + enum.name] = enum
            for service in file.service:
                for method in service.method:
                    self.methods.append(Method(file.package, service.name, method, self.options))
        for message in self.messages.values():
            for field in message.fields:
                target = self.messages.get(field.type_name)
                field.map = bool(field.repeated and target and target.map_entry)
        self.with_rules = self._with_rules()

    def _message(self, file, scope, proto):
        full_name = scope + "." + proto.name
        for nested in proto.nested_type:
            self._message(file, full_name, nested)
        for enum in proto.enum_type:
            self.enums[full_name + "." + enum.name] = enum
        self.messages[full_name] = Message(file, full_name, proto, self.options)

    def _with_rules(self):
        """Full names of messages that have a rule in them or below them."""
        found = {m.full_name for m in self.messages.values()
                 if m.check or any(o.required for o in m.oneofs) or any(f.rule for f in m.fields)}
        while True:
            more = {m.full_name for m in self.messages.values()
                    if any(f.type_name in found for f in m.fields)} - found
            if not more:
                return found
            found |= more


def rewrite_message(proto):
    synthetic = {f.oneof_index for f in proto.field if f.proto3_optional}
    real = [i for i in range(len(proto.oneof_decl)) if i not in synthetic]
    for field in proto.field:
        if field.proto3_optional:
            field.ClearField("oneof_index")
        elif field.HasField("oneof_index"):
            field.oneof_index = real.index(field.oneof_index)
        field.ClearField("proto3_optional")
        field.ClearField("options")
        if field.label == F.LABEL_REPEATED and field.type in PACKABLE:
            field.options.packed = True
    kept = [pb.OneofDescriptorProto(name=proto.oneof_decl[i].name) for i in real]
    del proto.oneof_decl[:]
    proto.oneof_decl.extend(kept)
    entry = proto.options.map_entry
    proto.ClearField("options")
    if entry:
        proto.options.map_entry = True
    for nested in proto.nested_type:
        rewrite_message(nested)


def for_protobuf_c(schema, prefix):
    """The copy for protoc-gen-c. Files move below prefix, so that generated code
    includes its headers by paths rooted at the build's folder."""
    out = pb.FileDescriptorSet()
    kept = {f.name for f in schema.files}
    for file in schema.files:
        copy = out.file.add()
        copy.CopyFrom(file)
        copy.name = prefix + file.name
        del copy.dependency[:]
        copy.dependency.extend(prefix + d for d in file.dependency if d in kept)
        del copy.public_dependency[:]
        del copy.weak_dependency[:]
        del copy.service[:]
        copy.ClearField("options")
        if not file.name.startswith(GOOGLE):
            copy.syntax = "proto2"
            for message in copy.message_type:
                rewrite_message(message)
    return out
