//! Limit on the size of the landing page: parts that would exceed it are counted instead of rendered.

use maud::Markup;

/// Bytes of markup that may still be rendered. The last part can exceed it.
#[derive(Debug)]
pub(super) struct SizeBudget(pub(super) usize);

impl SizeBudget {
    /// Renders the items until nothing of the budget is left. Returns their markup and the number of items that were
    /// left out.
    pub(super) fn render_each<T>(
        &mut self,
        items: Vec<T>,
        mut render: impl FnMut(T) -> Markup,
    ) -> (Vec<Markup>, usize) {
        let total = items.len();
        let mut rendered = Vec::new();
        for item in items {
            if self.0 == 0 {
                break;
            }
            let markup = render(item);
            self.0 = self.0.saturating_sub(markup.0.len());
            rendered.push(markup);
        }
        let hidden = total - rendered.len();
        (rendered, hidden)
    }
}

#[cfg(test)]
mod tests {
    use maud::html;

    use super::SizeBudget;

    #[test]
    fn items_beyond_the_budget_are_counted() {
        let mut budget = SizeBudget(20);
        let mut render = |texts| budget.render_each(texts, |text: &str| html! { p { (text) } });
        let (rendered, hidden) = render(vec!["first", "second", "third"]);
        let rendered: Vec<String> = rendered.into_iter().map(|part| part.0).collect();
        assert_eq!(rendered, ["<p>first</p>", "<p>second</p>"]);
        assert_eq!(hidden, 1);
        // The budget is shared by all calls.
        let (rendered, hidden) = render(vec!["fourth"]);
        assert_eq!((rendered.len(), hidden), (0, 1));
    }
}
