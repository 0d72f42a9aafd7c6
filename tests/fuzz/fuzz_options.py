"""Options whose value is more than a word: batches, rates, shards, URLs, lists of hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tests.fuzz.harness import as_text, few_hosts, fuzz, instrumented

with instrumented():
    from fleetaudit.app import option_values
    from fleetaudit.app.connection_arguments import parse_extra_vars
    from fleetaudit.app.reply_files import parse_reply_file
    from fleetaudit.app.time_of_day import TimeOfDay
    from fleetaudit.errors import FleetauditError
    from fleetaudit.inventory.builder import InventoryBuilder
    from fleetaudit.inventory.host_list import read_host_list
    from fleetaudit.playbook.conditions import parse_comparisons
    from fleetaudit.report.common import parse_moment
    from fleetaudit.text.host_ranges import fold_hosts

OPTIONS: tuple[Callable[[str], object], ...] = (
    option_values.parse_tags,
    option_values.parse_shard_option,
    option_values.parse_serial_option,
    option_values.parse_rate_option,
    option_values.parse_keep_option,
    option_values.parse_notify_command,
    option_values.parse_report_url,
    option_values.parse_engine,
    option_values.parse_publish_folder,
    option_values.parse_publish_mode,
    TimeOfDay.parse,
    lambda text: parse_extra_vars([text]),
)
WORDS = (
    "0644", "10%", "1/8", "30/m", "7d", "10", "dask://h:1", "https://", "02:30", ",", "inf", "nan",
    "a=b", "web[1:3]", "SUCCESS => {", '"stdout":', ">= 5.10", "1e9", "٣",
)  # fmt: skip


def TestOneInput(data: bytes) -> None:
    """Parses the input as the value of each option."""
    with few_hosts():
        _read(data)


def _read(data: bytes) -> None:
    text = as_text(data)
    for parse in OPTIONS:
        try:
            parse(text)
        except (FleetauditError, ValueError) as e:
            assert len(str(e)) < 2000 + 20 * len(text)
    _parse_hosts(text)
    parse_moment(text)
    parse_reply_file(data)
    try:
        parse_comparisons(text)
    except ValueError:
        return


def _parse_hosts(text: str) -> None:
    """Reads a list of hosts; its names, folded, are as many."""
    builder = InventoryBuilder()
    try:
        read_host_list(text, builder)
    except FleetauditError:
        return
    names = builder.host_names
    if names:
        assert fold_hosts(names).count == len(names)


def seeds() -> Iterable[bytes]:
    """Yields values of each option."""
    for value in (
        "1,10%,5", "3/8", "30/m", "7d,12w", "mail -s x", "https://a.b/c", "dask+tls://[::1]:8786",
        "02:30", "a=b c='d e'", '{"a": [1]}', "web[1:3],db:22,::1", "2026-11-22T02:00:00Z",
        'h | SUCCESS => {"stdout": "x"}', "kernel >= 5.10", ">= 5.10 < 6",
    ):  # fmt: skip
        yield value.encode()


if __name__ == "__main__":
    fuzz(TestOneInput)
