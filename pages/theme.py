"""Diptych's colours and type: warm paper, ink, oxblood and brass; walnut in the dark. Nothing is fetched."""

from __future__ import annotations

import gradio as gr
from gradio.themes.utils import colors, sizes

OXBLOOD = colors.Color(
    c50="#fbf1ef", c100="#f5dfdb", c200="#ebc0b9", c300="#dd988e", c400="#c96c60", c500="#a8473c",
    c600="#8c352c", c700="#742b24", c800="#5c231e", c900="#451a17", c950="#2c100e",
)  # fmt: skip
PAPER = colors.Color(
    c50="#fbf9f4", c100="#f4f0e7", c200="#e7e0d2", c300="#d3c9b6", c400="#a99d88", c500="#7d7262",
    c600="#5f564a", c700="#463f37", c800="#2f2a25", c900="#221e1b", c950="#181513",
)  # fmt: skip
SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Liberation Sans", "sans-serif")
MONO = ("ui-monospace", "SF Mono", "Cascadia Code", "Menlo", "DejaVu Sans Mono", "monospace")


def theme() -> gr.themes.Base:
    """The theme, given to launch()."""
    made = gr.themes.Base(
        primary_hue=OXBLOOD,
        secondary_hue=PAPER,
        neutral_hue=PAPER,
        text_size=sizes.text_md,
        spacing_size=sizes.spacing_md,
        radius_size=sizes.radius_sm,
        font=SANS,
        font_mono=MONO,
    )
    return made.set(
        body_background_fill="*neutral_100",
        body_background_fill_dark="*neutral_950",
        body_text_color="*neutral_800",
        body_text_color_dark="#e9e2d6",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        background_fill_primary="#fffdf8",
        background_fill_primary_dark="*neutral_900",
        background_fill_secondary="*neutral_50",
        background_fill_secondary_dark="*neutral_800",
        block_background_fill="#fffdf8",
        block_background_fill_dark="*neutral_900",
        block_border_color="*neutral_200",
        block_border_color_dark="*neutral_800",
        block_border_width="1px",
        block_shadow="none",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_400",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_300",
        block_title_text_weight="500",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        border_color_primary="*neutral_200",
        border_color_primary_dark="*neutral_700",
        border_color_accent="*primary_600",
        border_color_accent_dark="*primary_400",
        color_accent="*primary_600",
        input_background_fill="#fffdf8",
        input_background_fill_dark="*neutral_950",
        input_border_width="1px",
        input_border_color="*neutral_300",
        input_border_color_dark="*neutral_700",
        input_border_color_focus="*primary_600",
        input_border_color_focus_dark="*primary_400",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_500",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_500",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="#fffdf8",
        button_secondary_background_fill="transparent",
        button_secondary_background_fill_hover="*neutral_200",
        button_secondary_background_fill_dark="transparent",
        button_secondary_background_fill_hover_dark="*neutral_800",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_700",
        button_secondary_text_color="*neutral_700",
        button_secondary_text_color_dark="*neutral_200",
        button_border_width="1px",
        slider_color="*primary_600",
        slider_color_dark="*primary_400",
        checkbox_background_color_selected="*primary_600",
        checkbox_background_color_selected_dark="*primary_500",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
    )
