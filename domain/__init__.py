"""The pure core: what a workflow is, when it is due, what a retry is, and what events make of an execution.

Nothing here does I/O, reads a clock or draws randomness: time and random bytes are arguments. Instants are UTC-aware
datetimes in whole milliseconds, which is what MongoDB keeps, so that folding events and reading documents agree.
"""
