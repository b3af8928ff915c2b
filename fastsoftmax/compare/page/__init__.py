"""The comparison as one page that opens without a network: `svg` draws, `charts` says what, `page` puts together."""

from fastsoftmax.compare.page.page import document

__all__ = ["document"]
