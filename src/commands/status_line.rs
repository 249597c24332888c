//! Status line of a command on a terminal: one line of text, which the next one replaces.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Creates a status line, which is hidden unless `target` is a terminal. It is cut to the width of the terminal.
pub fn new_status_line(target: ProgressDrawTarget) -> ProgressBar {
    let line = ProgressBar::with_draw_target(None, target);
    line.set_style(style("{wide_msg}"));
    line
}

/// Returns a style; that of the library if the template is invalid.
pub(super) fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
