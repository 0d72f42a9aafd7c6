"""Hypothesis strategies for whatever a type of the model or of a reply accepts, as JSON has it."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

from hypothesis import strategies as st
from msgspec import inspect

MAX_ITEMS = 3
"""How many items a list has, where its type allows more."""
Strategy = st.SearchStrategy[Any]


def values_of(type_: Any) -> Strategy:
    """Returns the values that msgspec decodes as a type, with the bounds of the type."""
    return _values(inspect.type_info(type_))


@singledispatch
def _values(info: Any) -> Strategy:
    """Returns the values of one kind of type."""
    raise TypeError(f"no strategy for {info}")


@_values.register
def _(info: inspect.IntType) -> Strategy:
    edges = [bound for bound in (info.ge, info.le) if bound is not None]
    return st.sampled_from(edges) | st.integers(info.ge, info.le)


@_values.register
def _(info: inspect.FloatType) -> Strategy:
    edges = [float(bound) for bound in (info.ge, info.le) if bound is not None]
    return st.sampled_from(edges) | st.floats(info.ge, info.le, allow_nan=False)


@_values.register
def _(info: inspect.StrType) -> Strategy:
    if info.pattern is not None:
        return st.just("/etc/sysctl.d/99-x.conf:1")
    characters = st.characters(exclude_categories=["Cs"])
    longest = st.just("x" * (info.max_length or 1))
    return st.text(characters, max_size=min(info.max_length or 20, 20)) | longest


@_values.register
def _(info: inspect.BoolType) -> Strategy:
    return st.booleans()


@_values.register
def _(info: inspect.NoneType) -> Strategy:
    return st.none()


@_values.register
def _(info: inspect.LiteralType) -> Strategy:
    return st.sampled_from(info.values)


@_values.register
def _(info: inspect.UnionType) -> Strategy:
    return st.one_of(*map(_values, info.types))


@_values.register
def _(info: inspect.VarTupleType) -> Strategy:
    most = min(info.max_length or MAX_ITEMS, MAX_ITEMS)
    return st.lists(_values(info.item_type), min_size=info.min_length or 0, max_size=most)


@_values.register
def _(info: inspect.TupleType) -> Strategy:
    return st.tuples(*map(_values, info.item_types))


@_values.register
def _(info: inspect.DictType) -> Strategy:
    return st.dictionaries(_values(info.key_type), _values(info.value_type), max_size=MAX_ITEMS)


@_values.register
def _(info: inspect.StructType) -> Strategy:
    if info.array_like:
        return st.tuples(*(_values(field.type) for field in info.fields))
    required = {field.encode_name: _values(field.type) for field in info.fields if field.required}
    optional = {
        field.encode_name: _values(field.type) for field in info.fields if not field.required
    }
    return st.fixed_dictionaries(required, optional=optional)
