"""A model with a lasting memory over HTTP: read, write, forget and explain as JSON.

It needs the extra ``serve``: ``pip install recollect[serve]``.
"""

try:
    from recollect.serving.app import Limits, make_app
    from recollect.serving.server import serve
except ModuleNotFoundError as error:
    if error.name is None or error.name.startswith("recollect"):
        raise
    raise ImportError(
        f"serving needs FastAPI and uvicorn (no module {error.name}): pip install recollect[serve]"
    ) from error
from recollect.serving.disk import use_disk
from recollect.serving.inputs import InputSpec, inputs_of

__all__ = ["InputSpec", "Limits", "inputs_of", "make_app", "serve", "use_disk"]
