//! HTML that no text can break out of: markup is written in the program, and everything else is
//! escaped on its way in.

use std::fmt::{self, Display, Write};

/// A document on its way.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup, which only the program itself can write.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text, for an element or a quoted attribute.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        // Writing to a string cannot fail.
        let _ = write!(Escaped(&mut self.0), "{text}");
        self
    }

    /// How many bytes it has so far.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The document.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Lets nothing through that means anything in HTML.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            match letter {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                other => self.0.push(other),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Html;

    #[test]
    fn text_means_nothing_in_html() {
        let mut html = Html::default();
        html.raw("<p title='").text("'><script>\"&").raw("'>");
        assert_eq!(
            html.finish(),
            "<p title='&#39;&gt;&lt;script&gt;&quot;&amp;'>"
        );
    }
}
