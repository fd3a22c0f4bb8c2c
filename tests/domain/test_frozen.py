"""What is made of a class by ``frozen`` is what the standard library makes of it."""

import inspect
import pickle
from dataclasses import FrozenInstanceError, asdict, dataclass, field, replace

import pytest

from domain.frozen import frozen


@frozen
class Quick:
    """Fields of every sort."""

    name: str
    count: int = 3
    found: dict = field(default_factory=dict)
    seen: str | None = field(default=None, compare=False)


Plain = dataclass(frozen=True)(type("Quick", (), {"__annotations__": Quick.__annotations__,
    "count": 3, "found": field(default_factory=dict), "seen": field(default=None, compare=False)
}))  # fmt: skip


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (("a",), {}),
        (("a", 4), {"seen": "x"}),
        ((), {"name": "a", "found": {"b": 1}, "count": 0}),
        (("a", 1, {}, None), {}),
    ],
)
def test_it_holds_the_same(values, named):
    quick, plain = Quick(*values, **named), Plain(*values, **named)
    assert asdict(quick) == asdict(plain)
    assert repr(quick) == repr(plain)
    assert asdict(replace(quick, count=9)) == asdict(replace(plain, count=9))
    assert pickle.loads(pickle.dumps(quick)) == quick


@pytest.mark.parametrize(
    ("values", "named"), [((), {}), (("a",), {"name": "b"}), (("a",), {"other": 1}), (("a", 1, {}, None, 5), {})]
)
def test_it_refuses_the_same(values, named):
    for kind in (Quick, Plain):
        with pytest.raises(TypeError):
            kind(*values, **named)


def test_it_cannot_be_changed_and_nothing_of_it_is_shared():
    quick = Quick("a")
    with pytest.raises(FrozenInstanceError):
        quick.count = 1
    assert quick.found is not Quick("a").found
    assert Quick("a", seen="x") == Quick("a", seen="y") != Quick("b")
    assert list(inspect.signature(Quick).parameters) == list(inspect.signature(Plain).parameters)
