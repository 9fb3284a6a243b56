"""Names that protobuf-c gives to the C side of a schema, and names of our own.

protobuf-c's rules are repeated here because tables refer to its structs; a
difference shows at once, since the generated code then does not compile.
"""

import re

# C++ keywords, as protoc-gen-c 1.4 knows them: it appends "_" to such members.
KEYWORDS = set("""
and and_eq asm auto bitand bitor bool break case catch char class compl const
const_cast continue default delete do double dynamic_cast else enum explicit
extern false float for friend goto if inline int long mutable namespace new not
not_eq operator or or_eq private protected public register reinterpret_cast
return short signed sizeof static static_cast struct switch template this throw
true try typedef typeid typename union unsigned using virtual void volatile
wchar_t while xor xor_eq
""".split())


def camel(part):
    """One dotted component as it appears in a C type name."""
    return "".join(w[:1].upper() + w[1:] for w in part.split("_"))


def lower(part):
    """One dotted component as it appears in a C symbol."""
    out, was_upper = [], True
    for ch in part:
        if ch.isupper():
            if not was_upper:
                out.append("_")
            out.append(ch.lower())
        else:
            out.append(ch)
        was_upper = ch.isupper()
    return "".join(out)


def c_type(full_name):
    return "__".join(camel(p) for p in full_name.split("."))


def c_descriptor(full_name):
    return "__".join(lower(p) for p in full_name.split(".")) + "__descriptor"


def c_member(field_name):
    name = field_name.lower()
    return name + "_" if name in KEYWORDS else name


def c_oneof_case(oneof_name):
    return lower(oneof_name) + "_case"


def symbol(full_name):
    """Our own symbol suffix for a message: events.v1.Event -> events_v1_event."""
    return "_".join(snake(p) for p in full_name.split("."))


def snake(name):
    """SignInWithOAuth -> sign_in_with_oauth, GetByExternalId -> get_by_external_id."""
    name = name.replace("OAuth", "Oauth")
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def handler(package, service, method):
    """rpc_<package without version>[_<what the service adds>]_<method>.

    The service adds what is left of its name without the package's last word and
    "Service": AuthService nothing, ProfilesSDKService "sdk".
    """
    parts = [p for p in package.split(".") if not re.fullmatch(r"v\d+(alpha\d*|beta\d*)?", p)]
    base = re.sub(r"Service$", "", service)
    rest = re.sub(re.escape(parts[-1]), "", base, count=1, flags=re.IGNORECASE)
    infix = [snake(rest)] if rest else []
    return "_".join(["rpc"] + parts + infix + [snake(method)])


def c_string(text):
    """A C string literal holding text."""
    out = []
    for byte in text.encode():
        ch = chr(byte)
        if ch in '"\\':
            out.append("\\" + ch)
        elif 32 <= byte < 127:
            out.append(ch)
        else:
            out.append("\\%03o" % byte)
    return '"' + "".join(out) + '"'
