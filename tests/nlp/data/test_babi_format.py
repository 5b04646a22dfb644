import io
import sys
from types import SimpleNamespace

import pytest

from recollect.training import DataError
from recollect_nlp.data.babi_format import Question, read_stories
from recollect_nlp.data.vocabulary import Vocabulary

GOOD = """1 Mary moved to the bathroom.
2 John went to the hallway.
3 Where is Mary? \tbathroom\t1
4 Daniel took the milk.
5 What does Daniel carry?\tmilk,football\t4 2
1 Sandra left.
2 Who left?\tSandra\t1
"""


@pytest.fixture
def read(tmp_path):
    def read(content, **options):
        path = tmp_path / "my.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_stories(path, **options)

    return read


def test_a_question_has_the_earlier_sentences_and_its_supporting_ones(read, tmp_path):
    first, second, third = read(GOOD, task="qa8")
    sentences = ("Mary moved to the bathroom.", "John went to the hallway.")
    source = str(tmp_path / "my.txt")
    assert first == Question(sentences, "Where is Mary?", "bathroom", (0,), 3, source, "qa8", 0, (1, 2))
    assert second.story == (*sentences, "Daniel took the milk.")  # questions are not part of the story
    assert second.answer == "milk,football"  # a list is one answer
    assert second.supporting == (2, 1)  # line 4 is the third sentence, for line 3 is a question
    assert second.lines == (1, 2, 4)
    assert third.story == ("Sandra left.",)
    assert (third.line, third.number) == (7, 1)


@pytest.mark.parametrize(
    "content",
    [
        GOOD.replace("\n", "\r\n"),
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.rstrip("\n"),
        GOOD.replace("1 Sandra", "\n  \n1 Sandra"),
    ],
    ids=["windows line ends", "byte order mark", "no line end at the end", "blank lines"],
)
def test_line_ends_marks_and_blank_lines_have_no_influence(read, content):
    strip = [question._replace(line=0, lines=()) for question in read(content)]
    assert strip == [question._replace(line=0, lines=()) for question in read(GOOD)]


def test_lines_are_counted_in_the_file_not_in_the_story(read):
    question = read("\n\n1 Mary left.\n\n2 Who left?\tMary\t1\n")[0]
    assert (question.lines, question.line) == ((3,), 5)


def test_supporting_lines_are_optional(read):
    assert read("1 Mary left.\n2 Who left?\tMary\n")[0].supporting == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"my\.txt: the file is empty"),
        ("\n \n", r"my\.txt: the file is empty"),
        (
            "1 Mary left.\n2 Wo wär’ Mary?\tx\n".encode("cp1252"),
            r"my\.txt, line 2: not UTF-8 .* it may be cp1252",
        ),
        (GOOD.encode("utf-16-le"), r"my\.txt, line 1: a zero byte"),
        ("1 Mary left.\nWho left?\tMary\t1\n", r"my\.txt, line 2: no line number before 'Who left\?"),
        ("Mary left.\n", r"my\.txt, line 1: no line number"),
        ("１ Mary left.\n", r"my\.txt, line 1: no line number"),
        ("2 Mary left.\n", r"my\.txt, line 1: line number 2 in the story; expected 1\."),
        ("0 Mary left.\n", r"my\.txt, line 1: line number 0 in the story; expected 1\."),
        ("1 Mary left.\n3 Who left?\tMary\t1\n", r"line 2: line number 3 in the story; expected 2, or 1"),
        (
            "1 Mary left.\n2 Who left?\tMary\t1\n2 John left.\n",
            r"line 3: line number 2 in the story; expected 3",
        ),
        ("1 Mary left.\n2 Who left?\n", r"my\.txt, line 2: no answer after the question 'Who left\?'"),
        ("1 Mary left.\n2 Who left?\t\t1\n", r"my\.txt, line 2: no answer after"),
        ("1 Mary left.\n2 Who left?\t \n", r"my\.txt, line 2: no answer after"),
        ("1 Mary left.\n2 Who left?\tMary\t1\t1\n", r"my\.txt, line 2: 3 tabs"),
        ("1 Mary left.\n2 Who left?\tMary\t3\n", r"line 2: supporting line '3' is not an earlier sentence"),
        ("1 Mary left.\n2 Who left?\tMary\t2\n", r"line 2: supporting line '2' is not an earlier sentence"),
        (
            "1 A left.\n2 Who left?\tA\t1\n3 And who?\tA\t2\n",
            r"line 3: supporting line '2' is not an earlier",
        ),
        ("1 Mary left.\n2 Who left?\tMary\tone\n", r"line 2: supporting line 'one' is not"),
        (
            "1 A left.\n2 Who?\tA\t1\n1 B left.\n2 C left.\n3 Who?\tC\t2\n4 Who?\tC\t5\n",
            r"line 6: supporting",
        ),
        ("1 Who left?\tMary\t1\n", r"my\.txt, line 1: a question before the first sentence"),
        ("1 Mary left.\n", r"my\.txt, line 1: the story that begins here has no question"),
        (
            GOOD + "1 John left.\n2 He came back.\n",
            r"my\.txt, line 8: the story that begins here has no quest",
        ),
        (
            "1 A left.\n2 B left.\n1 C left.\n2 Who?\tC\t1\n",
            r"line 1: the story that begins here has no question",
        ),
        ("1 Mary left.\n2 ...\n3 Who left?\tMary\t1\n", r"my\.txt, line 2: no words after"),
        ("1\n", r"my\.txt, line 1: no words after"),
        ("1 Mary left.\n2 \tMary\t1\n", r"my\.txt, line 2: no words after"),
        ("1" * 5000 + " Mary left.\n", r"my\.txt, line 1: no line number"),
    ],
)
def test_a_malformed_file_is_an_error_with_file_and_line(read, content, message):
    with pytest.raises(DataError, match=message):
        read(content)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_line_ends_and_marks_of_other_systems_are_read(read, end, encoding):
    assert read(GOOD.replace("\n", end).encode(encoding)) == read(GOOD)


def test_signs_and_vowels_make_different_words(read):
    stories = read("1 The value is -5.\n2 What is it?\t-5\t1\n1 The value is 5.\n2 What is it?\t5\t1\n")
    vocabulary = Vocabulary.of(sentence for question in stories for sentence in question.story)
    assert vocabulary.encode(stories[0].story[0]) != vocabulary.encode(stories[1].story[0])


def test_answers_are_optional_in_prediction(read):
    questions = read("1 Mary left.\n2 Who left?\n3 Who left?\tMary\t1\n", answered=False)
    assert [question.answer for question in questions] == ["", "Mary"]


def test_a_file_without_questions_is_an_error_in_prediction(read):
    with pytest.raises(DataError, match=r"my\.txt, line 1: the story that begins here has no question"):
        read("1 Mary left.\n2 John left.\n", answered=False)


@pytest.mark.parametrize("name", ["missing.txt", "."])
def test_an_unreadable_file_is_an_error(tmp_path, name):
    with pytest.raises(DataError, match=rf"there is no file .*{name}|cannot be read: Is a directory"):
        read_stories(tmp_path / name)


def test_a_hyphen_reads_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"1 Mary left.\n2 Who left?\n")))
    question = read_stories("-", answered=False)[0]
    assert (question.source, question.line) == ("standard input", 2)
