"""The benchmark: ``make bench``. Every figure is the median of several runs with its spread, on the real stack.

The load generator is a process of its own (``bench.load``). CPU time is read from the operating system for each process
of the stack, so that a cost per execution can be told on a machine whose cores are the limit.
"""
