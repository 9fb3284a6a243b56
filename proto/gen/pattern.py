"""Compiles a regular expression to a DFA over bytes (struct pb_pattern).

The expression must match the whole text. "." is any byte; a negated set matches
any other byte, so it is safe in front of ".*" only. No look-around, no anchors,
no backreferences: what a DFA cannot do is refused here, at build time.
"""

try:
    from re import _parser as sre
except ImportError:  # Python before 3.11
    import sre_parse as sre

ALL = frozenset(range(256))
DEAD = 255


class Nfa:
    def __init__(self):
        self.edges = []  # per state: list of (byte set or None for epsilon, target)

    def state(self):
        self.edges.append([])
        return len(self.edges) - 1

    def add(self, source, chars, target):
        self.edges[source].append((chars, target))

    def closure(self, states):
        seen, todo = set(states), list(states)
        while todo:
            for chars, target in self.edges[todo.pop()]:
                if chars is None and target not in seen:
                    seen.add(target)
                    todo.append(target)
        return frozenset(seen)


def char_set(items):
    chars, negate = set(), False
    for op, arg in items:
        name = str(op)
        if name == "NEGATE":
            negate = True
        elif name == "LITERAL":
            chars.add(arg)
        elif name == "RANGE":
            chars.update(range(arg[0], arg[1] + 1))
        else:
            raise ValueError("%s in a set" % name)
    if any(c > 127 for c in chars):
        raise ValueError("sets may hold ASCII only")
    return ALL - chars if negate else frozenset(chars)


def build(nfa, tokens, start):
    """Adds tokens after state start; returns the state behind them."""
    for op, arg in tokens:
        start = build_one(nfa, str(op), arg, start)
    return start


def build_one(nfa, name, arg, start):
    if name in ("LITERAL", "NOT_LITERAL", "ANY", "IN"):
        chars = {"LITERAL": lambda: frozenset([arg]),
                 "NOT_LITERAL": lambda: ALL - {arg},
                 "ANY": lambda: ALL,
                 "IN": lambda: char_set(arg)}[name]()
        end = nfa.state()
        nfa.add(start, chars, end)
        return end
    if name == "SUBPATTERN":
        return build(nfa, arg[3], start)
    if name == "BRANCH":
        end = nfa.state()
        for branch in arg[1]:
            first = nfa.state()
            nfa.add(start, None, first)
            nfa.add(build(nfa, branch, first), None, end)
        return end
    if name in ("MAX_REPEAT", "MIN_REPEAT"):
        return build_repeat(nfa, arg, start)
    raise ValueError("%s is not supported" % name)


def build_repeat(nfa, arg, start):
    low, high, tokens = arg
    for _ in range(low):
        start = build(nfa, tokens, start)
    end = nfa.state()
    if high == sre.MAXREPEAT:
        loop = nfa.state()
        nfa.add(start, None, loop)
        nfa.add(build(nfa, tokens, loop), None, loop)
        nfa.add(loop, None, end)
        return end
    for _ in range(high - low):
        nfa.add(start, None, end)
        start = build(nfa, tokens, start)
    nfa.add(start, None, end)
    return end


def determinise(nfa, start, end):
    """Subset construction: (rows of 256 targets or None, accepting flags)."""
    first = nfa.closure([start])
    index, order, rows = {first: 0}, [first], []
    for states in order:
        row = [None] * 256
        moves = {}
        for state in states:
            for chars, target in nfa.edges[state]:
                for byte in chars or ():
                    moves.setdefault(byte, set()).add(target)
        for byte in sorted(moves):
            after = nfa.closure(moves[byte])
            if after not in index:
                index[after] = len(order)
                order.append(after)
            row[byte] = index[after]
        rows.append(row)
    return rows, [end in states for states in order]


def minimise(rows, accept):
    """Moore's algorithm; group 0 is the one of the start state."""
    group = [int(a) for a in accept]
    while True:
        keys = {}
        new = []
        for state, row in enumerate(rows):
            key = (group[state], tuple(None if t is None else group[t] for t in row))
            new.append(keys.setdefault(key, len(keys)))
        if len(keys) == len(set(group)):
            break
        group = new
    group = new
    first = {}
    for state, number in enumerate(group):
        first.setdefault(number, state)
    out = [[None if t is None else group[t] for t in rows[first[n]]] for n in range(len(first))]
    return out, [accept[first[n]] for n in range(len(first))]


class Pattern:
    """Tables of one expression: class_of[256], next[states][classes], accept[states]."""

    def __init__(self, text):
        self.text = text
        nfa = Nfa()
        start = nfa.state()
        end = build(nfa, sre.parse(text), start)
        rows, self.accept = minimise(*determinise(nfa, start, end))
        if len(rows) >= DEAD:
            raise ValueError("needs %d states, 254 at most" % len(rows))
        columns = {}
        self.class_of = [columns.setdefault(tuple(r[b] for r in rows), len(columns))
                         for b in range(256)]
        self.classes = len(columns)
        if self.classes > 255:
            raise ValueError("needs %d byte classes" % self.classes)
        self.next = [[DEAD if c[s] is None else c[s] for c in columns] for s in range(len(rows))]

    def match(self, data):
        state = 0
        for byte in data:
            state = self.next[state][self.class_of[byte]]
            if state == DEAD:
                return False
        return self.accept[state]
