"""What is computed once for values that come again and again: on nearly every host of a fleet.

`recent` remembers by value, bounded; `shared_parts` by the identity of objects that hosts share.
"""
