"""The projection, held against the log: ``wf verify`` and ``wf rebuild``.

The documents of ``executions`` are a projection of two topics. Here both topics are read from the beginning, folded per
execution by :mod:`events.history`, and compared with what is stored, or written over it.
"""
