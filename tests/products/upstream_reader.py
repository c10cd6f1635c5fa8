"""Read a set of files with the code of upstream soxspipe, and print what it made of it; run in its environment.

Arguments: settings file of that package, set of files with a raw dark and masters, and "prepare" to subtract the
masters from the raw dark, which then must be a full frame.
"""

import json
import logging
import pathlib
import sys

import ccdproc
import numpy as np
import yaml
from astropy import units as u
from astropy.nddata import CCDData
from soxspipe.commonutils import keyword_lookup
from soxspipe.commonutils.set_of_files import set_of_files

import soxspipe
from soxspipe.recipes.base_recipe import base_recipe

settings_name, sof, *prepare = sys.argv[1:]
package = pathlib.Path(soxspipe.__file__).parent
settings = {}
for name in ("advanced_settings.yaml", settings_name):
    settings |= yaml.safe_load((package / name).read_text())
log = logging.getLogger("upstream")
log.print = log.info
kw = keyword_lookup(log=log, settings=settings).get
files, _ = set_of_files(log=log, settings=settings, inputFrames=sof, ext=settings["data-extension"]).get()

recipe = base_recipe.__new__(base_recipe)
recipe.log, recipe.kw, recipe.settings, recipe.inputFrames, recipe.recipeName = log, kw, settings, files, "soxs-mdark"
recipe.arm = None
recipe.darkDetrendWarningIssued1 = recipe.darkDetrendWarningIssued2 = False
types, techniques, categories = recipe._verify_input_frames_basics()


def read(kind):
    """Read a master as the recipes of spectra do."""
    paths = list(files.files_filtered(include_path=True, **{kw("PRO_CATG"): f"{kind}_{recipe.arm}"}))
    return [
        CCDData.read(
            path,
            hdu=0,
            unit=u.electron,
            hdu_uncertainty="ERRS",
            hdu_mask="QUAL",
            hdu_flags="FLAGS",
            key_uncertainty_type="UTYPE",
        )
        for path in paths
    ]


def describe(frame):
    return {
        "shape": frame.shape,
        "unit": str(frame.unit),
        "sum": float(np.nansum(frame.data, dtype=float)),
        "error_sum": float(np.nansum(frame.uncertainty.array, dtype=float)),
        "error_type": frame.uncertainty.uncertainty_type,
        "bad": int(frame.mask.sum()),
    }


darks, biases = read("MASTER_DARK"), read("MASTER_BIAS")
report = {
    "arm": recipe.arm,
    "types": sorted(types),
    "categories": sorted(categories),
    "gain": recipe.detectorParams["gain"].value,
    "darks": list(map(describe, darks)),
    "biases": list(map(describe, biases)),
}
if prepare:
    (raw,) = files.files_filtered(include_path=True, **{kw("DPR_TYPE"): "DARK"})
    frame = recipe._trim_frame(recipe.xsh2soxs(CCDData.read(raw, hdu=0, unit=u.adu)))
    frame = ccdproc.gain_correct(frame, recipe.detectorParams["gain"], add_keyword=None)
else:
    frame = darks[0].copy()
    frame.data = frame.data + (biases[0].data if biases else 0) + 10
left = recipe.detrend(inputFrame=frame, master_bias=biases[0] if biases else False, dark=darks[0])
good, bad = left.data[~darks[0].mask], left.data[darks[0].mask]
median = float(np.nanmedian(good))
report["left"] = {
    "median": median,
    "width": 1.4826 * float(np.nanmedian(np.abs(good - median))),
    "in_bad": 1.4826 * float(np.nanmedian(np.abs(bad - median))),
}
sys.stdout.write(json.dumps(report) + "\n")
