from tests.raw_frames import make_frame, pack  # noqa: F401
