"""From bytes to a syntax tree that holds only listed nodes (rules R1, R2, R3). Nothing is executed.

What belongs here: what can be said without knowing what a name means. Bounds are set before the
parser runs, because deep syntax ends differently on each CPython (a parse on one, a MemoryError on
the next), and a deployment that differs splits a chain: 988 levels compile on 3.11, 1,480 on 3.12.
"""

import ast
import re
import warnings

from ledger.contract.rules import breach

SOURCE_BYTES_MAX = 49_152
"""Twice EIP-170's, as EIP-3860 has it for code with its constructor: source is longer than code."""
TREE_DEPTH_MAX = 48
"""A twentieth of what the weakest supported CPython compiles; also the bound on open brackets."""
PARSER_BYTES = 32 << 20
"""More than the parser takes for any source that it is given."""
LOOP_DEPTH_MAX = 8
"""CPython 3.11 has 20 nested blocks in all."""
TREE_NODES_MAX = 16_000
"""Bounds the time of every later pass; a 300-line contract has about 3,000."""
INT_LITERAL_BITS_MAX = 256
TEXT_LITERAL_MAX = 1_024
"""Characters of a literal; docstrings are bounded by the source alone."""

_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=]")  # PEP 263
_FOREIGN = re.compile(rb"[^\x20-\x7e\n]")
_LEXEMES = re.compile(
    r"#[^\n]*"
    r"|'''(?:[^\\]|\\.)*?'''" + r'|"""(?:[^\\]|\\.)*?"""'
    r"|'(?:[^'\\\n]|\\.)*'" + r'|"(?:[^"\\\n]|\\.)*"'
    r"|[\[({\])}'" + r'"]',
    re.DOTALL,
)
"""Comments, whole strings, brackets; a quote that opens no whole string stands alone."""

_LISTED = """
Module body | ImportFrom module names | alias name | ClassDef name bases body
FunctionDef name args body decorator_list returns | arguments args defaults | arg arg annotation
Return value | Assign targets value | AnnAssign target annotation value simple
AugAssign target op value | If test body orelse | For target iter body | While test body
Break | Continue | Pass | Raise exc | Expr value | Try body handlers
ExceptHandler type name body
BoolOp op values | Compare left ops comparators | UnaryOp op operand | BinOp left op right
IfExp test body orelse | Call func args keywords | keyword arg value | Subscript value slice ctx
Slice lower upper | ListComp elt generators | GeneratorExp elt generators
comprehension target iter ifs | Name id ctx | Attribute value attr ctx | Constant value
Tuple elts ctx | List elts ctx | Load | Store | And | Or | Not | USub | UAdd | Invert
Add | Sub | Mult | FloorDiv | Mod | Pow | LShift | RShift | BitOr | BitXor | BitAnd
Eq | NotEq | Lt | LtE | Gt | GtE | In | NotIn
"""
FORMS: dict[type[ast.AST], frozenset[str]] = {
    getattr(ast, words[0]): frozenset(words[1:])
    for words in (entry.split() for entry in _LISTED.strip().replace("\n", "|").split("|"))
}
"""Each listed node with each field of it that may be filled; any other filled field is refused."""

_HINTS = {
    "Div": "use // : floats differ between machines",
    "MatMult": "there are no matrices",
    "Is": "use == : identity differs between machines",
    "IsNot": "use != : identity differs between machines",
    "TryStar": "a failure ends the call; test the condition before",
    "JoinedStr": "text is opaque: no formatting",
    "Dict": "use a Map in storage, or two lists",
    "Set": "use a Map in storage, or a list",
    "Lambda": "write a method",
    "NamedExpr": "assign in a statement of its own",
    "Starred": "write the arguments out",
    "Assert": "raise a declared revert: if not ...: raise MyRevert(...)",
    "Import": "only `from ledger.contract import ...`",
    "Delete": "use self.field.remove(key)",
    "Match": "use if and elif",
    "With": "there is nothing to close",
    "Yield": "collect into a list and return it",
}
_FIELD_HINTS = {
    "orelse": "no else after a loop",
    "level": "only `from ledger.contract import ...`",
    "asname": "import names as they are",
    "keywords": "no metaclass and no class keywords",
    "cause": "raise MyRevert(...) alone",
    "finalbody": "nothing runs after a failure",
    "step": "slices have no step",
}


def read_tree(source: bytes) -> ast.Module:
    """The tree of a source that keeps R1, R2 and R3; any other is a Breach of one of them."""
    check_bytes(source)
    text = source.decode("ascii")
    check_brackets(text)
    tree = parse_text(text)
    check_forms(tree)
    return tree


def check_bytes(source: bytes) -> None:
    """R1: size, alphabet, no cookie, no escape that asks the Unicode database."""
    if len(source) > SOURCE_BYTES_MAX:
        raise breach("source-size", (1, 1), f"it has {len(source)} bytes; split the contract")
    if foreign := _FOREIGN.search(source):
        before = source[: foreign.start()]
        line = before.count(b"\n") + 1
        raise breach("source-ascii", (line, foreign.start() - before.rfind(b"\n")))
    for number, line_bytes in enumerate(source.split(b"\n")[:2], 1):
        if _COOKIE.match(line_bytes):
            raise breach("source-cookie", (number, 1))
    if (at := source.find(rb"\N{")) >= 0:
        line = source.count(b"\n", 0, at) + 1
        raise breach("source-escape", (line, at - source.rfind(b"\n", 0, at)))


def check_brackets(text: str) -> None:
    """R2 before the parser: brackets are the one nesting that a tree does not show."""
    depth = 0
    for lexeme in _LEXEMES.finditer(text):
        if lexeme[0] in "([{":
            depth += 1
        elif lexeme[0] in ")]}":
            depth -= 1
        if depth > TREE_DEPTH_MAX or lexeme[0] in "'\"":
            start = lexeme.start()
            at = text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)
            raise breach("nesting" if depth > TREE_DEPTH_MAX else "syntax", at)


def parse_text(text: str) -> ast.Module:
    """Python's own parser held to 3.11's grammar; whatever it raises means refused."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they differ by version; errors under -W error
            return ast.parse(text, feature_version=(3, 11))
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        if isinstance(error, MemoryError):
            bytearray(PARSER_BYTES)  # raises it again: this machine is at its end, not the parser
        at = getattr(error, "lineno", None) or 1, getattr(error, "offset", None) or 1
        raise breach("syntax", at) from None


def check_forms(tree: ast.Module) -> None:
    """R2 and R3 over the whole tree, without recursion: depth, count, literals, forms, fields."""
    nodes = 0
    stack: list[tuple[ast.AST, ast.AST, int, int]] = [(tree, tree, 1, 0)]
    while stack:
        node, parent, depth, loops = stack.pop()
        fields = FORMS.get(type(node))
        nodes += 1
        if fields is None or nodes > TREE_NODES_MAX or depth > TREE_DEPTH_MAX:
            rule = "form" if fields is None else "node-count" if depth <= TREE_DEPTH_MAX else ""
            at = node if hasattr(node, "lineno") else parent
            raise breach(rule or "nesting", at, _HINTS.get(type(node).__name__))
        if not node._fields:
            continue
        docstring = None
        if isinstance(node, ast.For | ast.While | ast.ListComp | ast.GeneratorExp):
            loops += 1
            if loops > LOOP_DEPTH_MAX:
                raise breach("loop-depth", node)
        elif isinstance(node, ast.Constant):
            check_literal(node)
        elif isinstance(node, ast.Attribute) and "__" in node.attr and node.attr != "__init__":
            raise breach("attribute", node, "no names with two underscores")
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            docstring = find_docstring(node)
            if docstring is not None:
                check_literal(docstring.value, SOURCE_BYTES_MAX)
        for field in node._fields:
            value = getattr(node, field, None)
            if value and field not in fields:
                at = node if hasattr(node, "lineno") else parent
                raise breach("form", at, _FIELD_HINTS.get(field, f"no {field} in this language"))
            if isinstance(value, list):
                for child in value:
                    if isinstance(child, ast.AST) and child is not docstring:
                        stack.append((child, node, depth + 1, loops))
            elif isinstance(value, ast.AST):
                stack.append((value, node, depth + 1, loops))


def find_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> ast.Expr | None:
    """The leading docstring of a module, class or method: it is not code."""
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return first if type(first.value.value) is str else None
    return None


def check_literal(node: ast.expr, text_max: int = TEXT_LITERAL_MAX) -> None:
    """By exact type, for True is an int. None is for annotations, ... for interfaces alone."""
    value = getattr(node, "value", None)
    if type(value) is int:
        if value.bit_length() > INT_LITERAL_BITS_MAX:
            raise breach("literal", node)
    elif isinstance(value, str | bytes):
        if len(value) > text_max:
            raise breach("literal", node)
        if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
            raise breach("literal", node, "half a surrogate pair is not UTF-8")
    elif type(value) is float or type(value) is complex:
        raise breach("form", node, "no floats: count in the smallest unit, as an int")
    elif value is not None and value is not ... and type(value) is not bool:
        raise breach("form", node)
