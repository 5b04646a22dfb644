"""One-line summaries of the parser's errors."""

import re

KEY = re.compile(r'Parser key "([^"]+)"')
EXPECTED = re.compile(r"Expected an? (?P<type>.+?)(?:\. Got value: (?P<value>.*))?$")
GIVEN = re.compile(r"^\s*Given value: (?P<value>.*)$", re.MULTILINE)
CALLABLE = re.compile(r"^Type .* expects a function or a callable class: ")
PLAIN = {"NoneType": "null", "Sequence": "a list", "Mapping": "a mapping", "dict": "a mapping"}
FRAME = (
    "Does not validate",
    "Subtypes:",
    "Errors:",
    "Given value",
    "Parser key",
    "Problem with",
    "Expected a path",
)
"""Beginnings of lines that only say where in the tree of types the parser stands."""


def summarize_error(message: str) -> str:
    r"""Return the flag and what is wrong with its value, from a message that lists every type.

    Args:
        message: What ``jsonargparse`` raises: a tree of types and what each of them refused.

    Example:
        >>> summarize_error('''Parser key "trainer.max_epochs":
        ...   Does not validate against any of the Union subtypes
        ...   Errors:
        ...     - Expected a <class 'int'>
        ...     - Expected a <class 'NoneType'>
        ...   Given value: x''')
        '--trainer.max_epochs: expected int or null, got x'
        >>> summarize_error("Does not validate\nErrors:\n  - size must be positive\n  - Expected a str")
        'size must be positive'
    """
    flag = ".".join(KEY.findall(message))
    reasons: list[str] = []
    expected: list[tuple[int, str]] = []  # with the indentation: the innermost count
    values: list[str] = []
    for line in message.splitlines():
        text = CALLABLE.sub("", line.strip().removeprefix("- ")).strip()
        if not text or text.startswith(FRAME):
            continue
        if match := EXPECTED.match(text):
            expected.append((len(line) - len(line.lstrip()), _type_name(match["type"])))
            values += [match["value"].split(". Got value: ")[0]] if match["value"] else []
        else:
            reasons.append(text)
    values += GIVEN.findall(message)
    values = [value for value in values if not value.startswith(("Namespace(", "NestedArg("))]
    given = f", got {values[0]}" if values else ""
    if reasons:
        what = "; ".join(dict.fromkeys(reasons))
        what += "" if values and values[0] in what else given
    elif expected:
        depth = max(indent for indent, _ in expected)
        types = dict.fromkeys(name for indent, name in expected if indent == depth)
        what = f"expected {' or '.join(types)}{given}"
    else:
        what = " ".join(message.split())
    return f"--{flag}: {what}" if flag else what


def _type_name(text: str) -> str:
    if match := re.fullmatch(r"<class '(.+)'>", text):
        name = match[1].rpartition(".")[2]
        return PLAIN.get(name, name)
    if match := re.fullmatch(r"typing\.Literal\[(.+)\]", text):
        return match[1].replace(", ", " or ")
    return "the path of a class" if text.startswith("dot import path") else text
