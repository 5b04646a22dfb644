"""The laws that every storage and every engine must satisfy, as test suites for any of them."""

from recollect.testing.engine import ENGINE_CHECKS, check_engine
from recollect.testing.engine_sequences import Operation, check_operations
from recollect.testing.engine_trial import EngineMaker
from recollect.testing.laws import LAWS, check_all
from recollect.testing.laws_bulk import check_bulk_writes, check_vmap
from recollect.testing.laws_content import check_capacity, check_erase, check_read_after_write
from recollect.testing.laws_empty import check_empty_slots
from recollect.testing.laws_external import EXTERNAL_LAWS, StorageMaker, check_external_storage
from recollect.testing.laws_gradients import check_compiles, check_gradients
from recollect.testing.laws_scan import check_long_scans
from recollect.testing.laws_shared import check_shared_store
from recollect.testing.laws_time import check_masks, check_scan_equals_steps, check_splits
from recollect.testing.laws_values import (
    check_batch_items,
    check_default_device,
    check_device,
    check_states_are_values,
)
from recollect.testing.list_engine import ListEngine
from recollect.testing.trial import KeyMaker, Steps, Trial, distinct_keys

__all__ = [
    "ENGINE_CHECKS",
    "EXTERNAL_LAWS",
    "LAWS",
    "EngineMaker",
    "KeyMaker",
    "ListEngine",
    "Operation",
    "Steps",
    "StorageMaker",
    "Trial",
    "check_all",
    "check_batch_items",
    "check_bulk_writes",
    "check_capacity",
    "check_compiles",
    "check_default_device",
    "check_device",
    "check_empty_slots",
    "check_engine",
    "check_erase",
    "check_external_storage",
    "check_gradients",
    "check_long_scans",
    "check_masks",
    "check_operations",
    "check_read_after_write",
    "check_scan_equals_steps",
    "check_shared_store",
    "check_splits",
    "check_states_are_values",
    "check_vmap",
    "distinct_keys",
]
