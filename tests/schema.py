"""The part of JSON Schema 2020-12 that docs/scorecard.schema.json uses."""

from typing import Any

KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}
WORDS = {
    *("$schema", "title", "description", "$defs", "$ref", "anyOf", "enum", "type", "required"),
    *("properties", "additionalProperties", "items", "minimum", "maximum"),
}


def faults(value: Any, schema: dict[str, Any], whole: dict[str, Any], at: str = "$") -> list[str]:
    """List where a value does not fit."""
    assert set(schema) <= WORDS, f"a word that is not checked: {set(schema) - WORDS}"
    if "$ref" in schema:
        schema = whole["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    if "anyOf" in schema and all(faults(value, one, whole, at) for one in schema["anyOf"]):
        return [f"{at} fits none"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{at} is {value!r}"]
    if "type" in schema:
        names = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        kinds = tuple(kind for name in names for kind in KINDS[name])
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            return [f"{at} is {value!r}, no {' or '.join(names)}"]
    found = []
    least, most = schema.get("minimum", value), schema.get("maximum", value)
    if isinstance(value, int | float) and not least <= value <= most:
        found.append(f"{at} is {value!r}")
    if isinstance(value, list):
        for place, item in enumerate(value):
            found += faults(item, schema.get("items", {}), whole, f"{at}[{place}]")
    if isinstance(value, dict):
        known, more = schema.get("properties", {}), schema.get("additionalProperties", {})
        found += [f"{at} lacks {name}" for name in schema.get("required", ()) if name not in value]
        for name, item in value.items():
            if name not in known and more is False:
                found.append(f"{at} has {name}")
            else:
                found += faults(item, known.get(name, more or {}), whole, f"{at}.{name}")
    return found
