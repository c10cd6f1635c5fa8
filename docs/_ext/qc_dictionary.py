"""Write the data dictionary of the QC values: ``python docs/_ext/qc_dictionary.py``.

docs/soxspipe_qc.dic is the output of this program; a test compares them.
"""

from __future__ import annotations

from pathlib import Path

from soxspipe.quality.dictionary import dictionary_text

FILE = Path(__file__).parents[1] / "soxspipe_qc.dic"

if __name__ == "__main__":
    FILE.write_text(dictionary_text(), encoding="ascii")
