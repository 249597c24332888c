//! The numbers of one row. What a column stands for is not known here.

/// One number of a row: given, not there, or there and unusable. The three are never mixed up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    /// A finite number.
    Given(f64),
    /// The API did not mention it.
    Missing,
    /// The API said something that is no finite number.
    Rejected,
}

/// The numbers of one row, one place a column, eight bytes each.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures(Box<[f64]>);

impl Figures {
    /// All missing, `columns` of them.
    pub fn missing(columns: usize) -> Self {
        Self(vec![f64::NAN; columns].into())
    }

    /// All zero, `columns` of them.
    pub fn zero(columns: usize) -> Self {
        Self(vec![0.0; columns].into())
    }

    /// The figure of a column; missing where there is no such column.
    pub fn get(&self, column: usize) -> Figure {
        match self.0.get(column) {
            Some(number) if number.is_finite() => Figure::Given(*number),
            Some(number) if number.is_infinite() => Figure::Rejected,
            _ => Figure::Missing,
        }
    }

    /// Every figure, column by column.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Figure> {
        (0..self.0.len()).map(|column| self.get(column))
    }

    /// Puts a figure into a column; a column that does not exist is ignored.
    pub fn set(&mut self, column: usize, figure: Figure) {
        // No given number is ever NaN or infinite, so those two can stand for the other cases.
        if let Some(place) = self.0.get_mut(column) {
            *place = match figure {
                Figure::Given(number) if number.is_finite() => number,
                Figure::Missing => f64::NAN,
                Figure::Given(_) | Figure::Rejected => f64::INFINITY,
            };
        }
    }
}
