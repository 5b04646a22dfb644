"""Speech synthesis with the eSpeak NG library."""

import ctypes
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchaudio.transforms import Resample

from recollect.training.errors import UserError

SYNCHRONOUS, RATE, PITCH, UTF8 = 2, 1, 3, 1
"""Constants of ``espeak_ng.h`` and ``speak_lib.h``."""

CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
"""Type of the callback that receives the synthesized samples."""


class Voice(NamedTuple):
    """A voice of eSpeak NG.

    Attributes:
        name: Name with variant, for instance ``en-us+f3``.
        speed: Words per minute.
        pitch: Pitch from 0 to 99.
    """

    name: str
    speed: int = 175
    pitch: int = 50


class Engine(NamedTuple):
    """The library, its sample rate, the samples of the last text, and the callback, kept from collection."""

    library: Any
    rate: int
    parts: list[Any]
    callback: Any


def synthesize(text: str, voice: Voice, rate: int) -> Tensor:
    """Synthesize a text: samples ``(S,)`` in [−1, 1] at ``rate`` samples per second.

    eSpeak NG adds small random variations; the same texts in the same order give the same samples in every
    process.

    Raises:
        UserError: If eSpeak NG is not installed.
        ValueError: If the voice does not exist, or there is no output.
    """
    engine = _engine()
    if engine.library.espeak_SetVoiceByName(voice.name.encode()) != 0:
        raise ValueError(f"eSpeak NG has no voice {voice.name!r}")
    engine.library.espeak_SetParameter(RATE, voice.speed, 0)
    engine.library.espeak_SetParameter(PITCH, voice.pitch, 0)
    engine.parts.clear()
    encoded = text.encode() + b"\0"
    failed = engine.library.espeak_Synth(encoded, len(encoded), 0, 0, 0, UTF8, None, None)
    failed = failed or engine.library.espeak_Synchronize()
    if failed or not engine.parts:
        raise ValueError(f"eSpeak NG failed for {text!r} (error {failed})")
    samples = torch.from_numpy(np.concatenate(engine.parts)).float() / 2**15
    resampled: Tensor = _resampler(engine.rate, rate)(samples)
    return resampled


@cache
def _resampler(source: int, target: int) -> Resample:
    """Cached, because making the filter takes longer than synthesizing a sentence."""
    return Resample(source, target)


@cache
def _engine() -> Engine:
    """The engine of this process; the library has global state."""
    try:
        import espeakng_loader  # type: ignore[import-untyped]
    except ImportError as error:
        raise UserError(
            "synthetic speech needs eSpeak NG: pip install 'recollect-speech[espeak]'; "
            "or use your own recordings: --config manifest --data.path FILE"
        ) from error
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = int(library.espeak_Initialize(SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0))
    if rate <= 0:
        raise UserError(f"eSpeak NG found no data in {espeakng_loader.get_data_path()}")
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # by default the time of day
    parts: list[Any] = []

    def receive(samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback = CALLBACK(receive)
    library.espeak_SetSynthCallback(callback)
    return Engine(library, rate, parts, callback)
