"""The decoding policy, as it is recorded with what was made by it."""

from __future__ import annotations

from dataclasses import replace

from napari_segment_anything.engine.policy import RULES, policy, policy_difference

from ..tiny import tiny_model

SIZES = {"least": 40.0, "most": 60.0, "best": 50.0}


def test_the_policy_has_what_the_models_card_says():
    assert policy(tiny_model()) == {
        "rules": RULES,
        "focus": None,
        "prompted_parts_only": False,
        "min_mask_region_area": 0.0,
    }
    model = tiny_model(
        focus=SIZES,
        prompted_parts_only=True,
        everything={"grid": {"min_mask_region_area": 30}},
    )
    found = policy(model)
    assert found["focus"]["least"] == 40.0
    assert found["prompted_parts_only"] and found["min_mask_region_area"] == 30.0


def test_differences_are_one_line():
    model = tiny_model()
    assert policy_difference(policy(model), model) is None
    assert "no decoding policy was recorded" in policy_difference(None, model)
    other = replace(model, metadata={"focus": SIZES})
    line = policy_difference({**policy(other), "rules": 0}, model)
    assert f"rules was 0, is {RULES}" in line and "focus was {" in line
    assert "\n" not in line
