"""Speech recognition with memory."""

from typing import TYPE_CHECKING

from recollect_cli.lazy import lazy_imports

if TYPE_CHECKING:
    from recollect_speech.data.connected_digits import ConnectedDigitsData
    from recollect_speech.data.fsdd import FsddData
    from recollect_speech.data.librispeech import LibriSpeechData
    from recollect_speech.data.manifest import ManifestData
    from recollect_speech.data.recognition import RecognitionData
    from recollect_speech.data.speechcommands import SpeechCommandsData
    from recollect_speech.data.synthetic_digits import SyntheticDigitsData
    from recollect_speech.data.synthetic_sentences import SyntheticSentencesData
    from recollect_speech.data.vctk import VctkData
    from recollect_speech.data.yesno import YesNoData
    from recollect_speech.models.encoder import Encoder
    from recollect_speech.models.keyword_encoder import KeywordEncoder
    from recollect_speech.models.summary_memory import SummaryMemory
    from recollect_speech.streaming import Transcriber
    from recollect_speech.tasks.keywords import KeywordSpotting
    from recollect_speech.tasks.recognition import Recognition
else:
    __getattr__, __dir__ = lazy_imports(__name__)

__all__ = [
    "ConnectedDigitsData",
    "Encoder",
    "FsddData",
    "KeywordEncoder",
    "KeywordSpotting",
    "LibriSpeechData",
    "ManifestData",
    "Recognition",
    "RecognitionData",
    "SpeechCommandsData",
    "SummaryMemory",
    "SyntheticDigitsData",
    "SyntheticSentencesData",
    "Transcriber",
    "VctkData",
    "YesNoData",
]
