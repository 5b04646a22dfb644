"""Speech of eSpeak NG, through its library."""

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

HEARD = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
"""What the library calls with the samples that it has made."""


class Voice(NamedTuple):
    """Who speaks, and how.

    Attributes:
        name: A voice of eSpeak NG with its variant, ``en-us+f3`` for instance.
        speed: Words a minute.
        pitch: 0 to 99.
    """

    name: str
    speed: int = 175
    pitch: int = 50


class Engine(NamedTuple):
    """The library, its samples a second, the samples that it has made last, and what keeps these coming."""

    library: Any
    rate: int
    parts: list[Any]
    callback: Any


def synthesize(text: str, voice: Voice, rate: int) -> Tensor:
    """The samples of a text, ``(S,)`` in [−1, 1] at ``rate`` a second.

    eSpeak NG varies what it says a little from time to time; a process that asks for the same texts in the
    same order hears the same.

    Raises:
        UserError: If eSpeak NG is not installed.
        ValueError: If it has no such voice, or says nothing.
    """
    engine = _engine()
    if engine.library.espeak_SetVoiceByName(voice.name.encode()) != 0:
        raise ValueError(f"eSpeak NG has no voice {voice.name!r}")
    engine.library.espeak_SetParameter(RATE, voice.speed, 0)
    engine.library.espeak_SetParameter(PITCH, voice.pitch, 0)
    engine.parts.clear()
    said = text.encode() + b"\0"
    failed = engine.library.espeak_Synth(said, len(said), 0, 0, 0, UTF8, None, None)
    failed = failed or engine.library.espeak_Synchronize()
    if failed or not engine.parts:
        raise ValueError(f"eSpeak NG could not say {text!r} (error {failed})")
    samples = torch.from_numpy(np.concatenate(engine.parts)).float() / 2**15
    heard: Tensor = _resampler(engine.rate, rate)(samples)
    return heard


@cache
def _resampler(of: int, to: int) -> Resample:
    """Its filter takes longer to make than a sentence to say."""
    return Resample(of, to)


@cache
def _engine() -> Engine:
    """One for the process: the library keeps its own state."""
    try:
        import espeakng_loader  # type: ignore[import-untyped]
    except ImportError as error:
        raise UserError(
            "spoken digits need eSpeak NG: pip install 'recollect-speech[espeak]', "
            "or --config manifest --data.train FILE for recordings of your own"
        ) from error
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = int(library.espeak_Initialize(SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0))
    if rate <= 0:
        raise UserError(f"eSpeak NG finds no data in {espeakng_loader.get_data_path()}")
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # the time of day by default
    parts: list[Any] = []

    def hear(samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback = HEARD(hear)
    library.espeak_SetSynthCallback(callback)
    return Engine(library, rate, parts, callback)
