"""The methods of the protos with their options, and messages by name, from the descriptor
set that the build made (build/gen/api.pb).

    for m in protos.methods(): m.path, m.aliases, m.no_side_effects, m.encode({...})
"""
import os
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, json_format

try:
    from google.protobuf.message_factory import GetMessageClass
except ImportError:  # Debian 12
    from google.protobuf.message_factory import MessageFactory

    def GetMessageClass(descriptor):
        return MessageFactory().GetPrototype(descriptor)

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OPTION = 73100  # pug.options.v1.method


class Method:
    def __init__(self, pool, service, descriptor):
        self.service, self.name = service.full_name, descriptor.name
        self.path = f"/{self.service}/{self.name}"
        options = descriptor.GetOptions()
        self.no_side_effects = \
            options.idempotency_level == descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS
        raw = descriptor_pb2.MethodDescriptorProto()
        descriptor.CopyToProto(raw)
        self.server_stream = raw.server_streaming
        # Our option by reflection: the pool knows the extension.
        again = GetMessageClass(pool.FindMessageTypeByName("google.protobuf.MethodOptions"))()
        again.ParseFromString(options.SerializeToString())
        ours = again.Extensions[pool.FindExtensionByName("pug.options.v1.method")]
        self.aliases = ["/" + a for a in ours.alias]
        self.authz, self.role, self.rate = ours.authz, ours.role, ours.rate
        self.input = GetMessageClass(descriptor.input_type)
        self.output = GetMessageClass(descriptor.output_type)

    def encode(self, body):
        """The binary form of a request given as JSON."""
        return json_format.ParseDict(body, self.input()).SerializeToString()

    def decode(self, data):
        """A binary answer as JSON."""
        message = self.output()
        message.ParseFromString(data)
        return json_format.MessageToDict(message)


def methods():
    files = descriptor_pb2.FileDescriptorSet()
    with open(os.path.join(TOP, "build/gen/api.pb"), "rb") as f:
        files.ParseFromString(f.read())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    found = []
    for file in files.file:
        for service in pool.FindFileByName(file.name).services_by_name.values():
            found += [Method(pool, service, m) for m in service.methods]
    return found


if __name__ == "__main__":
    for method in methods():
        print(method.path, *method.aliases, file=sys.stdout)
