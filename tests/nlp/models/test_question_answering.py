"""Networks that answer questions."""

import torch

from recollect_nlp.models.question_answering import RecurrentReader
from recollect_nlp.types import QuestionBatch


def test_the_recurrent_reader_ignores_padding() -> None:
    torch.manual_seed(0)
    reader = RecurrentReader(vocabulary_size=9, answers=3, size=4).eval()
    sentences = torch.randint(1, 9, (4, 3))
    story, mask = torch.tensor([[0, 1, 3]]), torch.tensor([[True, True, False]])
    one = torch.tensor([2])

    def scores(story: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        lengths = torch.full((4,), 3)
        return reader(QuestionBatch(sentences, lengths, story, mask, one, one, one, one))

    torch.testing.assert_close(scores(story, mask), scores(story[:, :2], mask[:, :2]))
    assert not torch.allclose(scores(story, mask), scores(story[:, [1, 0]], mask[:, :2]))
