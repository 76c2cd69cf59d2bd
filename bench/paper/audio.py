"""A sound through every codec: a SIREN of 3 hidden layers of 128, SNR against bytes."""

from __future__ import annotations

from bench.harness import corpus
from bench.paper import table
from bench.paper.codecs import all_rows
from bench.paper.context import Context, Line, Point


def recipes(context: Context) -> list[corpus.Recipe]:
    """Return the one network."""
    sound = "bach" if context.data else "tones"
    return [corpus.Recipe("siren", (3, 128), "sound", sound, 2 * context.budget.steps, 4096, 5e-4)]


def run(context: Context) -> None:
    """Measure two seconds of Bach's cello, or of generated notes without the data folder."""
    [recipe] = recipes(context)

    def measure(point: Point) -> list[Line]:
        rows = all_rows(point, context)
        table.draw(context.out / "audio.png", f"{recipe.signal}: SIREN (3, 128)", "SNR in dB", rows)
        return table.lines(point, rows)

    rows = context.lines(["audio_rows"], recipe, measure)
    context.write("audio_rows", rows)
    context.write("audio", table.summary(rows))
