"""Converts what click parsed to the options of use cases: each value with its source."""

from __future__ import annotations

from collections.abc import Mapping

import click
from click.core import ParameterSource

from fleetaudit.app.options import CommandOptions, Option, OptionSource

_SOURCES = {
    ParameterSource.COMMANDLINE: OptionSource.COMMAND_LINE,
    ParameterSource.ENVIRONMENT: OptionSource.ENVIRONMENT,
    ParameterSource.DEFAULT_MAP: OptionSource.CONFIGURATION,
}


def read_options(context: click.Context, values: Mapping[str, object]) -> CommandOptions:
    """Returns those options of the command of `context` that are in `values`."""
    parameters = {
        parameter.name: parameter
        for parameter in context.command.params
        if isinstance(parameter, click.Option) and parameter.name in values
    }
    options = {
        name: Option(
            name=name,
            flags=tuple(parameter.opts),
            value=values[name],
            default=parameter.get_default(context),
            source=source_of(context, name),
        )
        for name, parameter in parameters.items()
    }
    return CommandOptions(str(context.info_name), options)


def source_of(context: click.Context, name: str) -> OptionSource:
    """Returns where the value of a parameter comes from."""
    source = context.get_parameter_source(name)
    return _SOURCES.get(source, OptionSource.DEFAULT) if source else OptionSource.DEFAULT


def is_typed(context: click.Context, name: str) -> bool:
    """Returns whether a parameter is on the command line, with a value."""
    typed = source_of(context, name) is OptionSource.COMMAND_LINE
    return typed and bool(context.params[name])
