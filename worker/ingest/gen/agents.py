#!/usr/bin/env python3
"""Makes C tables of the user-agent rules of Debian's package uap-core.

agents.py REGEXES.YAML OUT.C

The rules are tried in their order, the first that fits counts. A thousand expressions are
too many for every request, so each gets the texts of which one must occur in whatever it
matches ("atoms", in lower case); only rules with an atom in the user agent are tried.
"""
import sys

import yaml

try:
    from re import _constants as sre, _parser as parser
except ImportError:
    import sre_constants as sre
    import sre_parse as parser
import re

LISTS = [("user_agent_parsers", ["family_replacement", "v1_replacement"]),
         ("os_parsers", ["os_replacement", "os_v1_replacement", "os_v2_replacement",
                         "os_v3_replacement"]),
         ("device_parsers", ["device_replacement"])]
OUTPUTS = 4
# Which iOS a Darwin kernel belongs to, where the package knows only that it is iOS. They
# stand before its rule of last resort.
LAST_RESORT = "CFNetwork/.{0,100} Darwin/"
DARWIN = {22: 16, 23: 17, 24: 18, 25: 26}
# In nearly every user agent: an atom with one of these narrows nothing.
COMMON = ("mozilla", "android", "linux", "build", "mobile", "safari", "version", "applewebkit",
          "chrome", "windows", "like", "gecko", "(khtml", "iphone", "mac os", "intel")
SHORTEST, LONGEST = 3, 24
BUCKET_BITS = 12


def with_darwin(rules):
    at = next((i for i, r in enumerate(rules) if r["regex"] == LAST_RESORT), len(rules))
    more = [{"regex": rf"CFNetwork/.{{0,100}} Darwin/{kernel}\.(\d+)", "os_replacement": "iOS",
             "os_v1_replacement": str(version), "os_v2_replacement": "$1"}
            for kernel, version in DARWIN.items()]
    return rules[:at] + more + rules[at:]


def worth(atoms):
    """More is better: rare words, long ones, few of them."""
    shortest = min(map(len, atoms))
    common = any(word in atom or atom in word for atom in atoms for word in COMMON)
    return shortest >= SHORTEST, not common, min(shortest, 6), -len(atoms)


def better(a, b):
    if a is None or b is None:
        return a or b
    return a if worth(a) >= worth(b) else b


def letter(op, arg):
    """The one character that an item matches, case aside; None when there are several."""
    if op is sre.LITERAL and arg < 128:
        return chr(arg).lower()
    if op is sre.IN and all(o is sre.LITERAL and a < 128 for o, a in arg):
        letters = {chr(a).lower() for _, a in arg}
        return letters.pop() if len(letters) == 1 else None
    return None


def atoms_of_item(op, arg):
    if op is sre.SUBPATTERN:
        return atoms_of(arg[3])
    if op in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        return atoms_of(arg[2]) if arg[0] > 0 else None
    if op is sre.BRANCH:
        sets = [atoms_of(branch) for branch in arg[1]]
        return None if None in sets else set().union(*sets)
    return None


def atoms_of(items):
    """Texts of which one is in everything that the items match; None: nothing is sure."""
    best, run = None, ""
    for op, arg in [*items, (None, None)]:
        one = letter(op, arg)
        if one is not None:
            run += one
        elif op is not sre.AT:
            best = better(best, {run} if run else None)
            best = better(best, atoms_of_item(op, arg))
            run = ""
    return best


def bucket(atom):
    """As in agent_match.c."""
    a, b, c = atom[:3].encode()
    return (((a | b << 8 | c << 16) * 2654435761) & 0xffffffff) >> (32 - BUCKET_BITS)


def quoted(text):
    out = ""
    for byte in text.encode():
        plain = 32 <= byte < 127 and chr(byte) not in '"\\?'
        out += chr(byte) if plain else f"\\{byte:03o}"
    return f'"{out}"'


def c_rule(rule, fields):
    outs = [quoted(str(rule[f])) if f in rule else "0" for f in fields]
    outs += ["0"] * (OUTPUTS - len(outs))
    fold = "true" if rule.get("regex_flag") == "i" else "false"
    return f"\t{{{quoted(rule['regex'])}, {{{', '.join(outs)}}}, {fold}}},"


def numbers(name, kind, values):
    lines = [f"const {kind} {name}[] = {{"]
    for i in range(0, len(values), 16):
        lines.append("\t" + " ".join(f"{v}," for v in values[i:i + 16]))
    return lines + ["};"]


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        data = yaml.load(f, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    data["os_parsers"] = with_darwin(data["os_parsers"])
    lines = ["/* Made by worker/ingest/gen/agents.py from Debian's package uap-core, whose rules",
             " * are (c) 2009 Google Inc., under the Apache License 2.0",
             " * (/usr/share/doc/uap-core/copyright). Not part of pugd's sources. */",
             '#include "worker/ingest/agent_rules.h"', "", "const struct agent_rule agent_rules[] = {"]
    ends, always, by_atom, n = [], [], {}, 0
    for name, fields in LISTS:
        for rule in data[name]:
            lines.append(c_rule(rule, fields))
            atoms = atoms_of(parser.parse(rule["regex"], re.I if rule.get("regex_flag") else 0))
            if atoms and min(map(len, atoms)) >= SHORTEST:
                for atom in atoms:
                    by_atom.setdefault(atom[:LONGEST], set()).add(n)
            else:
                always.append(n)
            n += 1
        ends.append(n)
    lines += ["};", f"const uint16_t agent_rule_count = {n};"]
    lines += numbers("agent_list_ends", "uint16_t", ends)
    lines += numbers("agent_always", "uint16_t", always)
    lines += [f"const uint16_t agent_always_count = {len(always)};", "const struct agent_atom agent_atoms[] = {"]
    ordered = sorted(by_atom, key=lambda a: (bucket(a), a))
    rules, starts = [], [0] * ((1 << BUCKET_BITS) + 1)
    for atom in ordered:
        lines.append(f"\t{{{quoted(atom)}, {len(atom)}, {len(rules)}, {len(by_atom[atom])}}},")
        rules += sorted(by_atom[atom])
        starts[bucket(atom) + 1] += 1
    for i in range(1 << BUCKET_BITS):
        starts[i + 1] += starts[i]
    lines += ["};"] + numbers("agent_atom_rules", "uint16_t", rules)
    lines += numbers("agent_buckets", "uint16_t", starts)
    with open(sys.argv[2], "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
