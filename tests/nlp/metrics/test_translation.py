"""Corpus metrics equal those of sacrebleu for any batches and processes."""

import pytest
import sacrebleu
import torch
from sacrebleu import BLEU, CHRF

from recollect_nlp.metrics.translation import CorpusMetric

TRANSLATIONS = ["Ein Hund läuft im Gras .", "Zwei Männer stehen, dort.", "x"]
REFERENCES = ["Ein Hund läuft durch das Gras.", "Zwei Männer stehen dort.", "Eine Frau."]


@pytest.mark.parametrize("make", [BLEU, CHRF])
def test_the_score_does_not_depend_on_batches(make):
    metric = CorpusMetric(make())
    metric.update(TRANSLATIONS[:1], REFERENCES[:1])
    metric.update([], [])
    metric.update(TRANSLATIONS[1:], REFERENCES[1:])
    assert metric.compute().item() == pytest.approx(
        make().corpus_score(TRANSLATIONS, [REFERENCES]).score, abs=1e-4
    )


def test_the_score_does_not_depend_on_processes():
    parts = [CorpusMetric(BLEU()) for _ in range(2)]
    parts[0].update(TRANSLATIONS[:2], REFERENCES[:2])
    parts[1].update(TRANSLATIONS[2:], REFERENCES[2:])
    joined = CorpusMetric(BLEU())
    joined.update([], [])
    joined.text = torch.cat([text for part in parts for text in part.text])  # as torchmetrics gathers them
    assert joined.compute().item() == pytest.approx(
        sacrebleu.corpus_bleu(TRANSLATIONS, [REFERENCES]).score, abs=1e-4
    )


def test_lowercased_text_ignores_case_and_the_signature_says_so():
    metric = CorpusMetric(BLEU(), str.lower, "|prepared:lowercased")
    metric.update([line.upper() for line in REFERENCES], REFERENCES)
    assert metric.compute().item() == pytest.approx(100)
    assert metric.signature().endswith("|prepared:lowercased")
    assert "tok:13a" in metric.signature()


def test_no_sentences_score_zero_and_unequal_numbers_are_an_error():
    metric = CorpusMetric(BLEU())
    metric.update([], [])
    assert metric.compute().item() == 0
    with pytest.raises(ValueError, match="shorter"):
        metric.update(TRANSLATIONS, REFERENCES[:2])
