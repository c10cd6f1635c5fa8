"""Headers of simulated raw frames."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from astropy.io import fits

from ..inputs.frame_kinds import SIMULATED
from ..instruments.keywords import Instrument
from .parameters import DarkSimulation

__all__ = ["frame_header", "make_header", "match_cards"]

_TEMPERATURE_K = {("SOXS", "NIR"): 40.1, ("SOXS", "VIS"): 153.1}
# index of the keyword that an arm uses for a meaning, where it is not the first
_KEYWORD_INDEX = {("SOXS", "ACQ"): {"arm": 1, "exptime": 1}, ("XSHOOTER", "NIR"): {"read_mode": 1}}


def frame_header(simulation: DarkSimulation, index: int) -> fits.Header:
    """Return the header of a frame, with every keyword that raw frames of the arm have.

    Parameters
    ----------
    simulation : DarkSimulation
        The simulation.
    index : int
        Number of the frame, from 0.

    Returns
    -------
    astropy.io.fits.Header
    """
    comment = f"Simulated by soxspipe, seed {simulation.seed}: not an observation"
    if not simulation.table.follows_eso:
        return make_header(_camera_cards(simulation, index), comment)
    table, detector = simulation.table, simulation.detector
    pair, is_soxs = (table.name, simulation.arm), table.name == "SOXS"
    first = simulation.start_of(0).isoformat(timespec="milliseconds")
    template = _template(simulation)
    site = ("ESO-LASILLA", "ESO-NTT") if is_soxs else ("ESO-PARANAL", "ESO-VLT-U3")
    cards: dict[str, Any] = {
        "ORIGIN": site[0], "TELESCOP": site[1], **match_cards(table), "OBJECT": simulation.kind,
    }  # fmt: skip
    for meaning, value in _meanings(simulation, index).items():
        keywords = table.keywords[meaning]
        if not keywords:
            continue
        cards[keywords[_KEYWORD_INDEX.get(pair, {}).get(meaning, 0)]] = value
        if not is_soxs and meaning in ("binx", "biny", "read_noise"):  # X-shooter has these twice
            cards[keywords[1]] = value
    chip = "ESO DET CHIP" if is_soxs else "ESO DET CHIP1"
    cards |= {f"{chip} PSZX": detector.pixel_size_um, f"{chip} PSZY": detector.pixel_size_um}
    cards |= {"ESO INS TEMP301 VAL": 11.7} if is_soxs else {}
    if detector.temperature_keyword:
        cards[detector.temperature_keyword] = _TEMPERATURE_K.get(pair, 263.15)
    if is_soxs and simulation.arm != "ACQ":
        cards["ESO INS VISE SWSIM" if simulation.is_ccd else "ESO INS NISE SWSIM"] = False
    cards |= {
        "ESO TPL NAME": f"{simulation.kind.capitalize()} frames", "ESO TPL START": first,
        "ESO TPL NEXP": simulation.frames, "ESO TPL EXPNO": index + 1, "ESO OBS ID": 200000001,
        "ESO OBS NAME": template, "ESO OBS START": first,
    }  # fmt: skip
    return make_header(cards, comment)


def match_cards(table: Instrument) -> dict[str, Any]:
    """Return the cards by which a header is one of an instrument."""
    return {keyword: values[0] for keyword, values in table.match.items()}


def _camera_cards(simulation: DarkSimulation, index: int) -> dict[str, Any]:
    """Return the cards of a camera without ESO keywords, in the words and units of its table."""
    table, detector = simulation.table, simulation.detector
    cards: dict[str, Any] = {}
    for meaning, value in _meanings(simulation, index).items():
        if table.keywords[meaning]:
            words = (word for word, meant in table.words.get(meaning, {}).items() if meant == value)
            cards[table.keywords[meaning][0]] = next(words, value)
    if detector.adu_per_count != 1.0 and table.keywords["conad"]:
        cards[table.keywords["conad"][0]] *= detector.adu_per_count
    cards[table.keywords["exptime"][0]] *= table.units_in_a_second
    if detector.temperature_keyword:
        cards[detector.temperature_keyword] = -10.0 if table.celsius else 263.15
    return cards | match_cards(table)


def make_header(cards: dict[str, Any], comment: str) -> fits.Header:
    """Return a header with these keywords, a comment, and the keyword of what is simulated."""
    header = fits.Header()
    for keyword, value in cards.items():
        header[f"HIERARCH {keyword}" if " " in keyword else keyword] = value
    header[SIMULATED] = True, "not an observation"
    header["COMMENT"] = comment
    return header


def _template(simulation: DarkSimulation) -> str:
    instrument, arm, kind = simulation.instrument, simulation.arm, simulation.kind.capitalize()
    if instrument != "SOXS":
        return f"{instrument}_gen_cal_{kind}"
    return f"SOXS_img_cal_{kind}" if arm == "ACQ" else f"SOXS_gen_cal_{arm}{kind}"


def _meanings(simulation: DarkSimulation, index: int) -> dict[str, Any]:
    """Return the values of a frame by their meanings in the instrument table."""
    physics, start = simulation.physics(), simulation.start_of(index)
    conad, is_soxs = physics.conad_e_per_adu, simulation.instrument == "SOXS"
    days = (start - datetime(1858, 11, 17)) / timedelta(days=1)
    meanings: dict[str, Any] = {
        "exptime": physics.exposure_s, "mjd": round(days, 8), "date": start.isoformat(timespec="milliseconds"),
        "archive_name": simulation.name_of(index, ":"), "category": "CALIB", "technique": "IMAGE",
        "type": simulation.kind, "arm": simulation.arm, "template": _template(simulation), "conad": conad,
        "gain": round(1 / conad, 6), "read_noise": physics.read_noise_e, "chip": f"{simulation.detector.name} (sim)",
    }  # fmt: skip
    if simulation.is_ccd:
        read_mode = f"1pt/{'400k/lg' if conad > 1 else '100k/hg'}"
        meanings |= {"biny": simulation.binning[0], "binx": simulation.binning[1]}
    else:
        read_mode = "Double"
        meanings |= {"dit": physics.exposure_s, "ndit": simulation.ndit}
    meanings["read_mode"] = 1 if is_soxs else read_mode
    if is_soxs:
        meanings["read_mode_name"] = "Default" if simulation.is_ccd else "Nondest"
    return meanings
