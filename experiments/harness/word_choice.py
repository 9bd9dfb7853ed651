"""Options of a few words, which ask for the nearest one where they are given another."""

from __future__ import annotations

from typing import Any

import click

from cupy_kst.hints.words import question


class WordChoice(click.Choice[str]):
    """One of several words."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            if not (meant := question(value, self.choices)):
                raise
            raise click.BadParameter(error.message.removesuffix(".") + meant, ctx, param) from None
