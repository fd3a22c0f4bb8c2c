"""Templates: sandboxed Jinja2 over the data of one execution. Pure: no I/O, no clock, no randomness.

``template`` compiles and renders one template, ``fields`` all those in an action's fields. ``sandbox`` is what keeps them in
bounds, ``filters`` what they may call, ``budget`` how much they may do, ``parts`` how much they may be. ``reference`` makes
that of an execution.

Nothing but JSON values is within a template's reach, and what is reached is looked up as data, never as an attribute of a
Python object; so there is no way from a value to its class. A template's work is counted (items looked at, characters
made), and ends with an error when its budget is used up: no template can hang a runner or fill its memory.
"""
