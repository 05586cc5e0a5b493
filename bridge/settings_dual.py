"""Settings of asking two stores: how the second one is compared, and when an organisation is switched back."""

from pydantic import Field, PositiveFloat, PositiveInt

from bridge.settings_receive import Section


class SwitchBack(Section):
    """An organisation that was switched (`headrace migrate cutover`) goes back by itself if one of these holds."""

    min_questions: PositiveInt = Field(
        default=20, description="Fewer questions of an organisation in a window decide nothing."
    )
    max_error_ratio: float = Field(default=0.05, gt=0, le=1, description="Of questions that failed in the store.")
    error_seconds: PositiveFloat = Field(default=300.0, description="How long the error ratio must have been over it.")
    max_slowdown: float = Field(default=3.0, gt=1, description="p95 of the new store in p95s of the old one.")
    slow_seconds: PositiveFloat = Field(default=600.0, description="How long it must have been slower than that.")
    unhealthy_seconds: PositiveFloat = Field(default=900.0, description="How long the store may not answer at all.")
    max_drift_ratio: float = Field(default=0.05, gt=0, le=1, description="Of comparisons that found a difference.")
    drift_seconds: PositiveFloat = Field(default=300.0, description="Over how long the drift is counted.")


class Dual(Section):
    """Both stores are open; who answers whom is kept in the migration's state, and read again all the time."""

    sample_rate: float = Field(default=0.05, ge=0, le=1, description="Share of questions that both stores are asked.")
    deadline_seconds: PositiveFloat = Field(default=5.0, description="How long the second store may take to answer.")
    max_concurrent: PositiveInt = Field(
        default=4, description="Comparisons at once; a question that finds no room is not compared, and counted."
    )
    settle_seconds: float = Field(
        default=60.0, ge=0, description="Rows younger than this are not compared: one store may have them first."
    )
    reload_seconds: PositiveFloat = Field(default=2.0, description="How often the routes are read again.")
    switch_back: SwitchBack = SwitchBack()
