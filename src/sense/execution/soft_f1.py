"""BIRD's soft F1: how much of the gold result is in the candidate's, cell by cell. Pure: no query is run."""

from __future__ import annotations

from itertools import zip_longest

from sense.execution.outcome import Rows


def soft_f1(gold: Rows, candidate: Rows) -> float:
    """Return the F1 of cells, 0 to 1; two results without rows have 1.

    Each result loses its repeated rows, then rows meet by position: the order of rows counts, that of columns
    does not. A cell is matched if its value is anywhere in the other row, so a value that the candidate
    repeats is matched each time. All counts of a row are divided by the columns of gold.

    >>> soft_f1(Rows(1, ((1,), (2,))), Rows(1, ((2,), (1,))))
    0.0

    Source: bird-bench/mini_dev, evaluation_f1.py, calculate_f1_score and calculate_row_match.
    """
    if not gold.rows and not candidate.rows:
        return 1.0
    matched = gold_only = candidate_only = 0.0
    for gold_row, candidate_row in zip_longest(dict.fromkeys(gold.rows), dict.fromkeys(candidate.rows)):
        if gold_row is None:
            candidate_only += 1
        elif candidate_row is None:
            gold_only += 1
        else:
            hits = sum(value in gold_row for value in candidate_row)
            matched += hits / len(gold_row)
            candidate_only += (len(candidate_row) - hits) / len(gold_row)
            gold_only += sum(value not in candidate_row for value in gold_row) / len(gold_row)
    if matched == 0:
        return 0.0
    precision = matched / (matched + candidate_only)
    recall = matched / (matched + gold_only)
    return 2 * precision * recall / (precision + recall)
