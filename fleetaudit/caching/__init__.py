"""Caches for values that nearly every host of a fleet has.

`recent` remembers results by value; `shared_parts` by the identity of objects that hosts share.
Both are bounded.
"""
