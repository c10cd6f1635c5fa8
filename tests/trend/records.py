"""Records of a simulated decade, from a seed."""

import numpy as np

from soxspipe.trend import MapComparison, PixelChange, TrendProduct, TrendValue, rate_histogram

FIRST_MJD = 57388.0  # 2016-01-01
#: Arm, exposure time, read mode, binning, read noise.
SERIES = (
    ("NIR", 10.0, "1", "", 9.0),
    ("NIR", 60.0, "1", "", 8.0),
    ("NIR", 300.0, "1", "", 7.5),
    ("NIR", 600.0, "5", "", 6.0),
    ("VIS", 300.0, "0", "1x1", 2.4),
    ("VIS", 3600.0, "0", "2x2", 2.6),
)
#: From this share of the decade on the read noise of the third series is higher.
STEP_SHARE, STEP_E = 0.6, 0.6


def products(count, seed=1, amplifiers=8):
    """Return products of six series, evenly over ten years; RON RAW of NIR 300 s has a step."""
    random = np.random.default_rng(seed)
    return [_product(i, count, random, amplifiers) for i in range(count)]


def _product(i, count, random, amplifiers):
    arm, exptime_s, mode, binning, noise = SERIES[i % len(SERIES)]
    mjd = FIRST_MJD + 3652 * i / count
    temperature = (40.0 if arm == "NIR" else 163.0) + 0.3 * np.sin(mjd / 58) + random.normal(0, 0.02)
    if exptime_s == 300.0 and arm == "NIR" and i > STEP_SHARE * count:
        noise += STEP_E
    ron = noise + random.normal(0, 0.03)
    current = (0.002 if arm == "NIR" else 6e-5) * np.exp(0.3 * np.sin(mjd / 58)) * (1 + random.normal(0, 0.05))
    level = current * exptime_s + 3.0
    hot = int(20000 + 2 * (mjd - FIRST_MJD) + random.normal(0, 60))
    pull = 1.0 + random.normal(0, 0.012)
    low, high = (3.0, 20.0) if arm == "NIR" else (1.5, 8.0)
    values = {
        "LEVEL": TrendValue(level, "electron"),
        "LEVEL ERR": TrendValue(0.05, "electron"),
        "DARK CURRENT": TrendValue(current, "electron/s", None, 0.005 if arm == "NIR" else 0.00012),
        "DARK CURRENT ERR": TrendValue(0.1 * current, "electron/s"),
        "RON RAW": TrendValue(ron, "electron", low, high),
        "RON SPREAD": TrendValue(0.05, "", None, 0.3),
        "PULL STD": TrendValue(pull, "", 0.95, 1.05),
        "HOTPIX NUM": TrendValue(hot, ""),
        "HOTPIX FRAC": TrendValue(hot / 2040**2, "", None, 0.02),
        "COLDPIX NUM": TrendValue(None if i % 7 == 0 else 300 + int(random.normal(0, 5)), ""),
        "DETECTOR TEMP": TrendValue(temperature, "K"),
        **{
            f"RON RAW{k}": TrendValue(ron + random.normal(0, 0.05), "electron", low, high)
            for k in range(1, amplifiers + 1)
        },
    }
    failed = tuple(
        name
        for name, one in values.items()
        if one.value is not None and ((one.low or -np.inf) > one.value or one.value > (one.high or np.inf))
    )
    name = f"{2016 + i * 10 // count}-{i:05d}_{arm}_{mode or binning}_MDARK_{exptime_s:.0f}_0S_SOXS"
    return TrendProduct(
        path=f"reduced/{name}.fits", recipe="soxs_mdark", instrument="SOXS", arm=arm, mjd=mjd, exptime_s=exptime_s,
        read_mode=mode, binning=binning, verdict="FAIL" if failed else "WARN" if i % 40 == 0 else "PASS", failed=failed,
        report=f"reduced/{name}.html", temperature_k=temperature, shape=(2040, 2040), values=values,
    )  # fmt: skip


def changes(of, count, seed=2):
    """Return births and deaths of NIR pixels of 300 s, and the comparisons that found them."""
    random = np.random.default_rng(seed)
    dark = [one for one in of if one.arm == "NIR" and one.exptime_s == 300.0][1:]
    found = [
        PixelChange(
            path=dark[random.integers(len(dark))].path,
            x=int(random.integers(1, 2041)), y=int(random.integers(1, 2041)),
            kind="death" if random.random() < 0.1 else "birth", significance=float(random.uniform(8, 50)),
        )
        for _ in range(count)
    ]  # fmt: skip
    return found, [MapComparison(one.path, 0.02) for one in dark]


def histograms(of, count, seed=3):
    """Return histograms of the dark rates of some products, with a hot tail that grows."""
    random = np.random.default_rng(seed)
    dark = [one for one in of if one.arm == "NIR" and one.exptime_s == 300.0]
    result = []
    for i, one in enumerate(dark[:: max(1, len(dark) // count)][:count]):
        rates = random.normal(0.002, 0.01, 40000)
        rates[: 200 + i] += random.exponential(0.5, 200 + i)
        result.append(rate_histogram(one.path, rates))
    return result
