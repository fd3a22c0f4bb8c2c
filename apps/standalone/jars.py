"""Apache Kafka's jars: fetched once, then used without network.

`class_path` looks for a complete set in the cache directory. Where there is none, a process of its own (this module's
`main`, so that Ctrl-C can end it at any point) lets jgo resolve the endpoint into a staging directory, and only a
complete set is renamed into place. jgo writes downloads straight to their final names and trusts what is there, so an
interrupted fetch into a shared repository would leave a torn jar that every later start would load; a torn staging
directory is thrown away instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from apps.standalone.errors import ExtraMissing, JarsUnavailable

KAFKA_VERSION = "4.1.1"
#: slf4j-simple prints Kafka's warnings and errors: its own jar comes without any backend, and would die in silence.
ENDPOINT = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.slf4j:slf4j-simple:1.7.36"
MANIFEST = "manifest.json"
FETCH_TIMEOUT = 900.0

#: Takes a line about how far the fetch is.
Progress = Callable[[str], None]


async def class_path(cache_dir: Path, progress: Progress) -> list[Path]:
    """The jars of Apache Kafka, fetching them first where the cache does not hold them all."""
    target = cache_dir / f"kafka-{KAFKA_VERSION}"
    jars = _complete_set(target)
    if jars is None:
        await _fetch(target, progress)
        jars = _complete_set(target)
    if jars is None:
        raise JarsUnavailable(f"Apache Kafka's jars are incomplete in {target}: remove that directory and try again")
    return jars


def _complete_set(target: Path) -> list[Path] | None:
    """The jars in the directory when they are the ones listed there for this endpoint, each with its size."""
    try:
        manifest = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
        sizes: dict[str, int] = manifest["jars"]
        jars = [target / name for name in sizes]
        if manifest["endpoint"] == ENDPOINT and all(jar.stat().st_size == sizes[jar.name] for jar in jars):
            return jars
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return None


async def _fetch(target: Path, progress: Progress) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    progress(f"fetching Apache Kafka {KAFKA_VERSION} (45 MB, only this once)")
    _remove_torn_fetches(target)
    staging = Path(tempfile.mkdtemp(prefix=f"{target.name}.", suffix=".partial", dir=target.parent))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        str(staging),
        env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": project_path()},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        errors = await asyncio.wait_for(_follow(process, progress), FETCH_TIMEOUT)
        if process.returncode != 0:
            reason = errors[-1] if errors else f"the fetch exited with status {process.returncode}"
            if "No module named 'jgo'" in reason:
                raise ExtraMissing("the package jgo is missing: pip install '.[standalone]'")
            raise JarsUnavailable(f"Apache Kafka's jars could not be fetched: {reason}")
        _put_in_place(staging / "jars", target)
    except asyncio.TimeoutError:
        raise JarsUnavailable(f"Apache Kafka's jars could not be fetched within {FETCH_TIMEOUT:g} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        shutil.rmtree(staging, ignore_errors=True)


def _remove_torn_fetches(target: Path) -> None:
    """Remove what fetches left that were killed before they could tidy up."""
    for staging in target.parent.glob(f"{target.name}.*.partial"):
        with contextlib.suppress(OSError):
            if time.time() - staging.stat().st_mtime > FETCH_TIMEOUT:
                shutil.rmtree(staging, ignore_errors=True)


async def _follow(process: asyncio.subprocess.Process, progress: Progress) -> list[str]:
    """Hand on what the process says about its progress until it ends; returns what it complained about."""
    assert process.stdout is not None and process.stderr is not None
    complaints = asyncio.ensure_future(process.stderr.read())
    try:
        while line := await process.stdout.readline():
            progress(line.decode(errors="replace").rstrip())
        await process.wait()
        return [line for line in (await complaints).decode(errors="replace").splitlines() if line.strip()]
    finally:
        complaints.cancel()


def _put_in_place(complete: Path, target: Path) -> None:
    if _complete_set(target) is not None:
        return  # another first start was faster
    shutil.rmtree(target, ignore_errors=True)
    # Should another start have put its set there just now, this fails and theirs is as good as ours.
    with contextlib.suppress(OSError):
        complete.rename(target)


def project_path() -> str:
    """A PYTHONPATH under which children import the very code that started them, whatever their working directory is."""
    root = str(Path(__file__).resolve().parents[2])
    inherited = os.environ.get("PYTHONPATH")
    return os.pathsep.join([root, inherited]) if inherited else root


# What runs in the process of its own.


class _DownloadReport:
    """Prints how much has arrived, at most every half megabyte."""

    def __init__(self) -> None:
        self.arrived = 0
        self.reported = 0

    @contextlib.contextmanager
    def __call__(self, filename: str, _size: int) -> Iterator[Callable[[int], None]]:
        def update(count: int) -> None:
            self.arrived += count
            if self.arrived - self.reported > 500_000:
                self.reported = self.arrived
                sys.stdout.write(f"fetching Apache Kafka {KAFKA_VERSION}: {self.arrived / 1e6:.1f} MB, {filename}\n")

        yield update


def _end_with_parent() -> None:
    """End this process when its parent's end of the pipe closes, so that a killed supervisor leaves no fetch behind."""

    def watch() -> None:
        # Not through sys.stdin: its buffer's lock, held here, would break the end of the interpreter.
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Resolve the endpoint into the directory given and list what was found."""
    staging = Path(sys.argv[1])
    _end_with_parent()
    # Imported here: the supervisor itself never needs jgo, nor what jgo imports.
    from jgo.env import EnvironmentBuilder, LinkStrategy
    from jgo.maven import MavenContext, PythonResolver

    context = MavenContext(resolver=PythonResolver(progress_callback=_DownloadReport()), repo_cache=staging / "repository")
    builder = EnvironmentBuilder(context=context, cache_dir=staging / "environments", link_strategy=LinkStrategy.HARD)
    jars = staging / "jars"
    jars.mkdir()
    sizes: dict[str, int] = {}
    for jar in builder.from_endpoint(endpoint=ENDPOINT).all_jars:
        shutil.move(jar, jars / jar.name)
        sizes[jar.name] = (jars / jar.name).stat().st_size
    (jars / MANIFEST).write_text(json.dumps({"endpoint": ENDPOINT, "jars": sizes}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
