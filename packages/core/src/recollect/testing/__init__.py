"""The laws that every storage must satisfy, as a test suite for any storage."""

from recollect.testing.laws import LAWS, check_all
from recollect.testing.laws_bulk import check_bulk_writes, check_vmap
from recollect.testing.laws_content import check_capacity, check_erase, check_read_after_write
from recollect.testing.laws_empty import check_empty_slots
from recollect.testing.laws_gradients import check_compiles, check_gradients
from recollect.testing.laws_shared import check_shared_store
from recollect.testing.laws_time import check_masks, check_scan_equals_steps, check_splits
from recollect.testing.laws_values import (
    check_batch_items,
    check_default_device,
    check_device,
    check_states_are_values,
)
from recollect.testing.trial import KeyMaker, Steps, Trial, distinct_keys

__all__ = [
    "LAWS",
    "KeyMaker",
    "Steps",
    "Trial",
    "check_all",
    "check_batch_items",
    "check_bulk_writes",
    "check_capacity",
    "check_compiles",
    "check_default_device",
    "check_device",
    "check_empty_slots",
    "check_erase",
    "check_gradients",
    "check_masks",
    "check_read_after_write",
    "check_scan_equals_steps",
    "check_shared_store",
    "check_splits",
    "check_states_are_values",
    "check_vmap",
    "distinct_keys",
]
