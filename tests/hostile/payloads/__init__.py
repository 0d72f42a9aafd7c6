"""Strings that attack, in every field that a host or an inventory controls, through every output,
each read by its real consumer.

`corpus` makes the strings; `fields` puts them into every text of a type, found by reflection, so
that a new field is covered; `outputs` names each output with its consumer. `browser`, `terminal`,
`files`, `shells` and `bounds` are the consumers.
"""
