"""``wf``: the command line of the system.

``main`` puts the commands together; ``definitions``, ``workflows``, ``trigger`` and ``executions`` hold one group of
commands each; ``client`` talks to the HTTP API, ``output`` writes for people and for programs, ``errors`` holds the exit
codes. What is slow to import (pydantic models, aiohttp, rich, yaml) is imported where it is used: ``wf`` starts fast.
"""
