"""Exams, patients and reconstructions from volume names."""

from __future__ import annotations

import numpy as np
import pytest

from ctbench_core.manifest import clean_names, parse_identities


@pytest.mark.parametrize(
    ("name", "exam", "patient", "recon"),
    [
        ("train_1_a_1", "train_1_a", "train_1", 1),
        ("valid_1_a_1", "valid_1_a", "valid_1", 1),  # numbers restart: not the patient of train_1
        ("train_20000_q_11", "train_20000_q", "train_20000", 11),
        ("train_12_a", "train_12_a", "train_12", 0),  # tables with one row an exam
        ("site_b_train_7_c_2", "site_b_train_7_c", "site_b_train_7", 2),
        ("train_1_aa_1", "train_1_aa", "train_1", 1),
    ],
)
def test_names_tell_exam_patient_and_reconstruction(name: str, exam: str, patient: str, recon: int) -> None:
    identities = parse_identities([name])
    assert (identities.exams[0], identities.patients[0], identities.recons[0]) == (exam, patient, recon)
    assert not identities.unnamed[0]


@pytest.mark.parametrize(
    "name", ["scan", "train_1", "train_1_2_3", "1.2.840.113619", "001", "_1_a_1", "train_x_a_1", "train_1_a_", ""]
)
def test_other_names_are_their_own_exam_and_patient(name: str) -> None:
    identities = parse_identities([name])
    assert (identities.exams[0], identities.patients[0], identities.recons[0], identities.unnamed[0]) == (
        name,
        name,
        0,
        True,
    )


def test_a_reconstruction_number_beyond_any_integer_is_no_reconstruction_number() -> None:
    identities = parse_identities(["train_1_a_99999999999999999999"])
    assert identities.unnamed[0]


def test_names_are_stripped_and_lose_the_image_suffix() -> None:
    names = [" train_1_a_1.nii.gz ", "train_1_a_2.nii", "001", "a.nii.gz.old"]
    assert clean_names(names).tolist() == ["train_1_a_1", "train_1_a_2", "001", "a.nii.gz.old"]


def test_order_and_number_are_kept() -> None:
    names = np.array(["b_2_a_1", "a_1_a_1", "b_2_a_2"], dtype=object)
    assert parse_identities(names).patients.tolist() == ["b_2", "a_1", "b_2"]
    assert len(parse_identities([]).exams) == 0
