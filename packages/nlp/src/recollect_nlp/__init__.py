"""Question answering and translation with a memory."""

from typing import TYPE_CHECKING

from recollect_cli.lazy import lazy_imports

if TYPE_CHECKING:
    from recollect_nlp.data.babi import BabiData
    from recollect_nlp.data.multi30k import Multi30kData
    from recollect_nlp.data.question_answering import QuestionData
    from recollect_nlp.data.stories import StoryData
    from recollect_nlp.data.translation import TranslationData
    from recollect_nlp.models.recurrent_translator import RecurrentTranslator
    from recollect_nlp.models.transformer_translator import TransformerTranslator
    from recollect_nlp.models.translation import Translator
    from recollect_nlp.tasks.question_answering import QuestionAnswering
    from recollect_nlp.tasks.translation import Translation
else:
    __getattr__, __dir__ = lazy_imports(__name__)

__all__ = [
    "BabiData",
    "Multi30kData",
    "QuestionAnswering",
    "QuestionData",
    "RecurrentTranslator",
    "StoryData",
    "TransformerTranslator",
    "Translation",
    "TranslationData",
    "Translator",
]
