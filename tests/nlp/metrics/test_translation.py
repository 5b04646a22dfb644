"""Corpus metrics are sacrebleu's own, however the corpus is cut into batches and processes."""

import pytest
import sacrebleu
import torch
from sacrebleu import BLEU, CHRF

from recollect_nlp.corpus_metric import CorpusMetric

SAID = ["Ein Hund läuft im Gras .", "Zwei Männer stehen, dort.", "x"]
TRUE = ["Ein Hund läuft durch das Gras.", "Zwei Männer stehen dort.", "Eine Frau."]


@pytest.mark.parametrize("make", [BLEU, CHRF])
def test_batches_make_no_difference(make):
    metric = CorpusMetric(make())
    metric.update(SAID[:1], TRUE[:1])
    metric.update([], [])
    metric.update(SAID[1:], TRUE[1:])
    assert metric.compute().item() == pytest.approx(make().corpus_score(SAID, [TRUE]).score, abs=1e-4)


def test_processes_make_no_difference():
    parts = [CorpusMetric(BLEU()) for _ in range(2)]
    parts[0].update(SAID[:2], TRUE[:2])
    parts[1].update(SAID[2:], TRUE[2:])
    joined = CorpusMetric(BLEU())
    joined.update([], [])
    joined.text = torch.cat([text for part in parts for text in part.text])  # as torchmetrics gathers them
    assert joined.compute().item() == pytest.approx(sacrebleu.corpus_bleu(SAID, [TRUE]).score, abs=1e-4)


def test_lowercased_text_ignores_case_and_says_so():
    metric = CorpusMetric(BLEU(), str.lower, "|prepared:lowercased")
    metric.update([line.upper() for line in TRUE], TRUE)
    assert metric.compute().item() == pytest.approx(100)
    assert metric.signature().endswith("|prepared:lowercased")
    assert "tok:13a" in metric.signature()


def test_nothing_scores_nothing_and_unlike_numbers_are_refused():
    metric = CorpusMetric(BLEU())
    metric.update([], [])
    assert metric.compute().item() == 0
    with pytest.raises(ValueError, match="shorter"):
        metric.update(SAID, TRUE[:2])
