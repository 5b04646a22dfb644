"""Small images that look like a dataset."""

import functools
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

Writer = Callable[..., Path]

COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200), "grey": (120, 120, 120)}


def write_image(path: Path, colour: str, seed: int, size: tuple[int, int] = (12, 12)) -> Path:
    """A noisy image of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(-30, 30, (size[1], size[0], 3))
    pixels = np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_classes(root: Path, classes: Sequence[str], count: int) -> Path:
    """A folder of ``count`` images for each class."""
    for label, name in enumerate(classes):
        for number in range(count):
            write_image(root / name / f"{number:03d}.png", name, 1000 * label + number)
    return root


@pytest.fixture
def write_images(tmp_path: Path) -> Writer:
    """Write a folder of images for each class: ``count`` of each, under ``folder``."""

    def write(
        folder: str = "own", classes: Sequence[str] = ("red", "green", "blue"), count: int = 12
    ) -> Path:
        return write_classes(tmp_path / folder, classes, count)

    return write


def draw_alphabets(root: Path, alphabets: int = 3, characters: int = 4, drawings: int = 4) -> Path:
    """Draw ``characters`` strokes of their own in each of ``alphabets``, each ``drawings`` times by hand."""
    hand = random.Random(0)
    for alphabet in range(alphabets):
        for character in range(characters):
            folder = root / f"alphabet{alphabet}" / f"character{character:02d}"
            folder.mkdir(parents=True, exist_ok=True)
            stroke = [(hand.uniform(5, 23), hand.uniform(5, 23)) for _ in range(4)]
            for drawing in range(drawings):
                shaken = [(x + hand.uniform(-1, 1), y + hand.uniform(-1, 1)) for x, y in stroke]
                image = Image.new("1", (28, 28), 1)
                ImageDraw.Draw(image).line(shaken, fill=0, width=2)
                image.save(folder / f"{character:04d}_{drawing:02d}.png")
    return root


@pytest.fixture
def write_drawings(tmp_path: Path) -> Writer:
    """Draw alphabets in a folder of the given name."""
    return lambda name="drawings", **counts: draw_alphabets(tmp_path / name, **counts)


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty images of each of three colours; not to be changed."""
    return write_classes(tmp_path_factory.mktemp("colours") / "own", ("red", "green", "blue"), 20)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[dict[str, bytes]], str]]:
    """A local server of the given files: its address, with a slash at the end."""
    root = tmp_path / "served"
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()

    def publish(files: dict[str, bytes]) -> str:
        root.mkdir(exist_ok=True)
        for name, content in files.items():
            (root / name).write_bytes(content)
        return f"http://127.0.0.1:{server.server_port}/"

    yield publish
    server.shutdown()
    thread.join()
    server.server_close()
