#!/usr/bin/env python3
"""Holds the table of serialize/onnx/operators.c against ONNX's own schema, opset by opset: operands,
results, attributes. Says what differs; exit code 1 if anything does. needs onnx.

    python tools/onnx/check_operators.py"""
import re
import sys
from pathlib import Path

import onnx

SOURCE = (Path(__file__).resolve().parents[2] / "serialize/onnx/operators.c").read_text()
OLDEST, NEWEST = 13, 20
KINDS = dict(zip("fistgFIS", "FLOAT INT STRING TENSOR GRAPH FLOATS INTS STRINGS".split()))


def types(text, sets):
    found = set()
    for part in re.findall(r"BIT\((\w+)\)|(\w+)", text):
        found |= {part[0].lower()} if part[0] else sets[part[1]]
    return found


def read():
    sets, letters, rows = {}, {}, {}
    texts = {m[0]: "".join(re.findall(r'"([^"]*)"', m[1]))
             for m in re.findall(r"#define (\w+) +((?:[^\n]*\\\n)*[^\n]*)", SOURCE)}
    for name, value in re.findall(r"#define (\w+) +\(([^\n]*)\)\n", SOURCE):
        sets[name] = types(value, sets)
    for letter, value in re.findall(r"\{'(\w)', ([^}]*)\}", SOURCE.split("--- operators")[0]):
        letters[letter] = types(value, sets)
    for name, since, signature, rest in re.findall(r'\{"(\w+)", (\d+), "([^"]*)",\s*([^}]*)\}', SOURCE):
        attributes = "".join(a or texts.get(b, "") for a, b in re.findall(r'"([^"]*)"|(\w+)', rest))
        rows.setdefault(name, []).append((int(since), signature, attributes))
    return letters, rows


def same_side(letters, known, text, ports, schema):
    """Do letters allow each port the schema's types, and bind the ports that it binds?"""
    sets = {t.type_param_str: {x[7:-1] for x in t.allowed_type_strs if x.startswith("tensor(")}
            for t in schema.type_constraints}
    every = set().union(*letters.values())
    if len(text.replace("*", "")) != len(ports):
        return False
    for letter, port in zip(text.replace("*", ""), ports):
        if letter == "@":
            continue
        allowed = sets.get(port.type_str, {port.type_str[7:-1]}) & every
        if letters[letter] != allowed:
            return False
        if len(allowed) > 1 and known.setdefault(letter, port.type_str) != port.type_str:
            return False
    return len(set(known.values())) == len(known)


def differs(letters, row, schema):
    _, signature, text = row
    known, (operands, results) = {}, signature.split(":")
    attributes = {a.split(":")[0]: KINDS[a.split(":")[1]] for a in text.split()}
    wanted = {k: a.type.name for k, a in schema.attributes.items() if k != "sparse_value"}
    if attributes != wanted:
        yield f"attributes {attributes}, wanted {wanted}"
    for side, ports in ((operands, schema.inputs), (results, schema.outputs)):
        if not same_side(letters, known, side, ports, schema):
            yield f"types {side}, wanted {[(p.name, p.type_str) for p in ports]}"


def main():
    letters, rows = read()
    faults = 0
    for name, versions in rows.items():
        for opset in range(OLDEST, NEWEST + 1):
            found = [r for r in versions if r[0] <= opset]
            try:
                schema = onnx.defs.get_schema(name, max_inclusive_version=opset)
            except onnx.defs.SchemaError:
                schema = None
            if bool(found) != bool(schema):
                lines = ["is there" if found else "is missing"]
            else:
                lines = list(differs(letters, found[-1], schema)) if found else []
            for line in lines:
                print(f"{name} {opset}: {line}")
            faults += len(lines)
    print(f"{len(rows)} operators, {faults} differences")
    return faults > 0


if __name__ == "__main__":
    sys.exit(main())
