"""What users give and meet, line by line: each has a test, or a reason why it cannot have one.

The lines are numbered as in the list of bad inputs that this project keeps; what a line expects
stands beside its number. The tests are all over the suite, each where its module is.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
INPUT = "integration/test_bad_input.py::"
READING = "unit/tasks/test_reading.py::"
SPLITS = "unit/tasks/test_splits.py::"
TASK = "unit/tasks/test_task.py::"
MODELS = "contracts/test_language_models.py::"
LOADING = "unit/models/test_loading.py::"
DOCUMENTS = "unit/test_documents.py::"
CLAIMS = "unit/searching/test_claims.py::"
RESUME = "integration/test_resume.py::"
WORKERS = "integration/test_workers.py::"

COVERED: dict[int, tuple[str, ...]] = {
    # Data
    1: (INPUT + "test_unusable_data", READING + "test_header_only_file_is_refused"),
    2: (INPUT + "test_unusable_data", INPUT + "test_a_column_that_is_not_there"),
    3: (INPUT + "test_unusable_data", READING + "test_missing_value_names_row_and_column"),
    4: (INPUT + "test_unusable_data",),
    5: (INPUT + "test_unusable_spaces", INPUT + "test_labels_that_the_prompt_does_not_know"),
    6: (INPUT + "test_line_endings_and_marks_make_no_difference", READING + "test_bom_is_dropped"),
    7: (INPUT + "test_line_endings_and_marks_make_no_difference",),
    8: (INPUT + "test_unusable_data", READING + "test_wrong_encoding_gives_byte_and_way_out"),
    9: (INPUT + "test_unusable_data", READING + "test_nul_byte_gives_its_line"),
    10: (READING + "test_long_cell_is_read",),
    11: (INPUT + "test_unusable_data", READING + "test_unclosed_quote_gives_the_line_of_the_row"),
    12: (READING + "test_words_for_nothing_stay_text",),
    13: (READING + "test_other_line_separators_do_not_cut_a_row",),
    14: (TASK + "test_mixed_label_types_are_one_class_and_noted",),
    15: (INPUT + "test_texts_in_two_splits_where_that_is_forbidden",),
    16: (SPLITS + "test_same_text_with_two_labels_gets_a_note",),
    17: (SPLITS + "test_imbalance_shows_the_majority_baseline",),
    18: (INPUT + "test_more_shots_than_a_label_has",),
    19: (INPUT + "test_unusable_data", READING + "test_malformed_jsonl_gives_its_line"),
    20: (SPLITS + "test_empty_texts_are_kept_and_counted",),
    21: (TASK + "test_accents_that_differ_between_files_are_one_class_and_noted",),
    # Templates and verbalizers
    23: (INPUT + "test_unusable_spaces", "unit/test_templates.py::test_no_mask_is_refused"),
    24: (INPUT + "test_unusable_spaces", "unit/test_templates.py::test_two_masks_are_refused"),
    25: (INPUT + "test_unusable_spaces", "unit/test_templates.py::test_no_field_is_refused"),
    26: (
        INPUT + "test_unusable_spaces",
        "unit/test_templates.py::test_unknown_slot_is_refused_with_a_suggestion",
    ),
    27: (
        "unit/test_templates.py::test_stray_brace_gives_its_column",
        "unit/test_templates.py::test_doubled_braces_are_literal",
    ),
    28: ("unit/test_templates.py::test_slots_that_are_no_plain_names_are_refused",),
    29: ("unit/test_templates.py::test_braces_and_tokens_of_the_input_are_inserted_verbatim",),
    30: (MODELS + "test_special_tokens_in_a_text_are_text",),
    31: (
        MODELS + "test_truncation_takes_only_the_end_of_the_text",
        MODELS + "test_truncation_tells_what_it_took",
    ),
    32: (
        MODELS + "test_a_template_longer_than_the_model_is_an_error",
        INPUT + "test_a_seed_that_the_model_cannot_take",
    ),
    33: (MODELS + "test_a_word_of_n_tokens_is_scored_with_n_masks",),
    34: (
        "unit/scoring/test_word_scores.py::test_two_labels_with_the_same_tokens_are_refused",
        "unit/test_verbalizers.py::test_word_of_two_labels_is_refused",
    ),
    35: (
        "unit/test_verbalizers.py::test_empty_word_is_refused",
        "unit/models/test_encoding.py::test_a_word_of_unknown_characters_is_refused",
    ),
    36: ("unit/cli/test_spaces_verb.py::test_validate_shows_how_a_model_spells_the_words",),
    37: ("unit/test_spaces.py::test_yes_and_no_stay_label_words",),
    38: (INPUT + "test_unusable_spaces", DOCUMENTS + "test_duplicate_keys_are_refused"),
    39: (
        DOCUMENTS + "test_tags_are_refused",
        DOCUMENTS + "test_alias_bomb_is_refused_at_its_first_anchor",
        DOCUMENTS + "test_deep_nesting_is_refused",
    ),
    41: ("unit/searching/test_triggers.py::test_proposals_are_read_as_they_are_written",),
    # Models
    42: (LOADING + "test_a_tokenizer_without_a_mask",),
    43: ("unit/models/test_masked.py::test_a_tokenizer_without_padding_pads_with_anything",),
    44: (LOADING + "test_a_checkpoint_without_a_masked_head", INPUT + "test_an_unusable_model"),
    45: (LOADING + "test_damaged_weights", INPUT + "test_an_unusable_model"),
    46: (RESUME + "test_a_resume_with_other_input_is_refused",),
    47: (LOADING + "test_pickled_weights_are_not_opened", INPUT + "test_an_unusable_model"),
    48: (LOADING + "test_code_that_a_model_brings_is_not_run",),
    49: (
        LOADING + "test_a_directory_that_does_not_exist",
        LOADING + "test_a_name_that_cannot_be_reached",
    ),
    50: (
        "unit/models/test_masked.py::test_a_batch_that_does_not_fit_is_halved",
        "integration/test_failing_trials.py::test_a_trial_that_does_not_fit_the_memory_fails_alone",
    ),
    51: (
        "integration/test_failing_trials.py::test_a_trial_without_finite_scores_fails_alone",
        "integration/test_search_cli.py::test_a_model_that_gives_nan_is_a_failed_run",
    ),
    # Runs
    52: (INPUT + "test_a_place_that_cannot_be_written",),
    53: ("integration/test_disk.py::test_a_full_disk_loses_nothing",),
    54: (
        RESUME + "test_sigterm_is_143_and_gives_the_trial_back",
        RESUME + "test_ctrl_c_is_130_and_can_be_resumed",
        WORKERS + "test_workers_on_a_server_are_terminated_and_join_again",
    ),
    55: (
        RESUME + "test_a_killed_run_ends_as_the_whole_one",
        CLAIMS + "test_a_trial_that_never_gave_a_sign_is_found_too",
        CLAIMS + "test_four_reapers_give_a_trial_back_once",
    ),
    56: (
        CLAIMS + "test_a_silent_worker_loses_its_trial_and_discards_what_it_has",
        WORKERS + "test_a_worker_that_was_frozen_discards_its_result_and_goes_on",
    ),
    57: (
        "unit/searching/test_patience.py::test_every_call_of_a_study_outlives_a_restart",
        "unit/searching/test_patience.py::test_a_call_waits_for_a_server_that_is_down",
    ),
    58: (
        INPUT + "test_a_run_that_another_process_writes",
        WORKERS + "test_a_worker_joins_by_the_run_directory",
    ),
    59: (RESUME + "test_a_resume_with_other_input_is_refused",),
    60: (
        "unit/searching/test_storage.py::test_simultaneous_first_starts_crash_nobody",
        WORKERS + "test_a_worker_joins_by_the_run_directory",
    ),
    61: (
        "unit/searching/test_addresses.py::test_a_file_may_have_any_name",
        "unit/test_sharing.py::test_a_run_of_any_name_has_a_study_of_a_plain_one",
        WORKERS + "test_a_worker_of_an_unknown_study",
    ),
    63: (
        WORKERS + "test_workers_on_a_server_are_terminated_and_join_again",
        "contracts/test_security.py::test_passwords_are_neither_printed_nor_written",
        "unit/searching/test_addresses.py::test_no_password_is_shown",
    ),
    64: (
        RESUME + "test_a_damaged_database_is_named",
        "unit/test_sharing.py::test_a_damaged_note_of_the_storage_is_named",
    ),
    65: (
        INPUT + "test_predictions_do_not_replace_a_file",
        "unit/cli/test_init_verb.py::test_a_file_is_replaced_only_with_force",
    ),
}
CANNOT_APPLY = {
    22: "cells that begin with = + - @: nothing here writes CSV; predictions are JSON lines",
    40: "a regular expression that never ends: no file of a user holds regular expressions",
    62: "<script> in data: no HTML is written in this part of the package",
}


@functools.cache
def names_in(file: str) -> frozenset[str]:
    """The names of the tests in a file."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_each_line_is_covered_or_says_why_not() -> None:
    assert sorted([*COVERED, *CANNOT_APPLY]) == list(range(1, 66))


@pytest.mark.parametrize("number", COVERED)
def test_the_tests_of_a_line_are_there(number: int) -> None:
    for test in COVERED[number]:
        file, name = test.split("::")
        assert name in names_in(file), test
