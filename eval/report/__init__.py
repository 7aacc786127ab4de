"""What a run came to, for people and for other programs: table, plots, samples, exports. Reads a run, asks no model."""

from eval.report.compared import comparison_section, refused_section
from eval.report.export import FORMATS, Format, export
from eval.report.page import Section, html_page
from eval.report.rows import Row, rows_of
from eval.report.run import Reported

__all__ = [
    "FORMATS", "Format", "Reported", "Row", "Section", "comparison_section", "export", "html_page",
    "refused_section", "rows_of",
]
