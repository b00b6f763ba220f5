"""The `napari-sam` program: its verbs, error messages and exit codes."""

from __future__ import annotations

import errno
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Annotated, TextIO

import typer

from ..errors import SegmentAnythingError
from . import (
    ablate,
    download,
    embed,
    evaluate,
    everything,
    find,
    info,
    large,
    models,
    pretrain,
    project,
    quantize,
    rate,
    refine,
    replay,
    segment,
    stack,
    train,
)

PROGRAM = "napari-sam"
BAD_INPUT = 2
UNEXPECTED = 1
INTERRUPTED = 130
TERMINATED = 143
RESUMABLE = (
    "ablate",
    "embed",
    "evaluate",
    "large",
    "pretrain",
    "train",
    "project suggest",
    "project learn",
)

app = typer.Typer(
    name=PROGRAM,
    help="""Segment Anything for scientific images.

    To try it without data of your own: napari-sam everything sample:coins -o out/

    All built-in sample images: napari-sam info --samples
    """,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    pass


app.command("segment")(segment.segment)
app.command("find")(find.find)
app.command("everything")(everything.everything)
app.command("refine")(refine.refine)
app.command("large")(large.large)
app.command("stack")(stack.stack)
app.command("embed")(embed.embed)
app.command("evaluate")(evaluate.evaluate)
app.command("pretrain")(pretrain.pretrain)
app.command("train")(train.train)
app.command("quantize")(quantize.quantize)
app.command("ablate")(ablate.ablate)
app.add_typer(project.app)
app.add_typer(rate.app)
app.command("replay")(replay.replay)
app.command("models")(models.models)
app.command("download")(download.download)
app.command("info")(info.info)


_commands = cache(typer.main.get_command)
"""Puts the verbs and their options together, which takes long, once in a process."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code.

    0: success. 2: invalid input; one line on standard error says what is wrong. 130: interrupted
    with Ctrl-C; 143: terminated by SIGTERM. 1: an unexpected error, also one line unless `--debug`.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; the process's own arguments when left out.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    if not debug:
        # it logs details of damaged files, which our own message covers
        logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    signals: list[int] = []
    try:
        with _terminable(signals), warnings.catch_warnings():
            # fallbacks of the engine (less memory, no cache) are shown as notes
            warnings.showwarning = _note
            code = _commands(app).main(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else PROGRAM
        message = error.format_message().replace("Value error, ", "")
        _complain(f"{message} ({command} --help)")
        return BAD_INPUT
    except (SegmentAnythingError, OSError) as error:
        if debug:
            raise
        _complain(_describe(error))
        return BAD_INPUT
    except Exception as error:
        if debug:
            raise
        _complain(
            f"unexpected {type(error).__name__}: {error} (a bug; --debug shows the traceback)"
        )
        return UNEXPECTED
    if code == INTERRUPTED:
        verb = " ".join(arguments[: 2 if arguments[:1] == ["project"] else 1])
        rest = (
            "run the same command again to continue"
            if verb in RESUMABLE
            else (
                "labels in a store are marked as unfinished; no file was written"
                if verb == "stack"
                else "nothing was written"
            )
        )
        _complain(f"{'terminated' if signals else 'interrupted'}; {rest}")
        code = TERMINATED if signals else INTERRUPTED
    return code if isinstance(code, int) else 0


@contextmanager
def _terminable(signals: list[int]) -> Iterator[None]:
    """Turn SIGTERM into KeyboardInterrupt, so that the block cleans up."""

    def stop(number: int, frame: object) -> None:
        signals.append(number)
        signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once
        raise KeyboardInterrupt

    ours = threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if ours:
        signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _describe(error: Exception) -> str:
    if isinstance(error, SegmentAnythingError):
        return str(error)
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error) or type(error).__name__
    where = "" if error.filename is None else f": {error.filename}"
    hint = "; free some space and run again" if error.errno == errno.ENOSPC else ""
    return f"{error.strerror}{where}{hint}"


def _note(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    _complain(f"note: {message}")


def _complain(message: str) -> None:
    line = " ".join(message.split())
    print(f"{PROGRAM}: {line}", file=sys.stderr)  # noqa: T201
