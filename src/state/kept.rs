//! What a state file can hold, and how the simplest things stand in it.
//!
//! Whatever is put is taken back in the same order: a struct is its fields, one after another,
//! without names, lengths or padding. Any change of that order is a new [`super::LAYOUT`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;

use super::Refused;
use super::wire::{In, Out};

/// Something that a state file can hold.
pub(super) trait Kept: Sized {
    /// Writes it.
    fn put<'a>(&'a self, to: &mut Out<'a>);

    /// Reads it.
    fn take(from: &mut In<'_>) -> Result<Self, Refused>;
}

/// A struct is its fields, in the order given here.
macro_rules! kept {
    ($kept:ty { $($field:ident),+ }) => {
        impl Kept for $kept {
            fn put<'a>(&'a self, to: &mut Out<'a>) {
                $(self.$field.put(to);)+
            }

            fn take(from: &mut In<'_>) -> Result<Self, Refused> {
                Ok(Self { $($field: Kept::take(from)?),+ })
            }
        }
    };
}
pub(super) use kept;

impl Kept for bool {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        to.bytes(&[u8::from(*self)]);
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        match from.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Refused::Garbled("it holds neither yes nor no")),
        }
    }
}

impl Kept for usize {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        to.number(*self as u64);
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        let number = Self::try_from(from.number()?);
        number.map_err(|_| Refused::Garbled("it holds a count that this machine cannot"))
    }
}

impl Kept for i64 {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        to.signed(*self);
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        from.signed()
    }
}

/// Its bits, so that not even the last of them is lost.
impl Kept for f64 {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        to.bytes(&self.to_le_bytes());
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        let mut bytes = [0; 8];
        from.bytes(&mut bytes)?;
        Ok(Self::from_le_bytes(bytes))
    }
}

impl Kept for String {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        to.text(self);
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        from.text()
    }
}

impl Kept for Box<str> {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        to.text(self);
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        Ok(from.text()?.into())
    }
}

impl Kept for Arc<str> {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        to.text(self);
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        Ok(from.text()?.into())
    }
}

impl<T: Kept> Kept for Option<T> {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        to.bytes(&[u8::from(self.is_some())]);
        if let Some(some) = self {
            some.put(to);
        }
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        bool::take(from)?.then(|| T::take(from)).transpose()
    }
}

impl<T: Kept> Kept for Arc<T> {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        self.as_ref().put(to);
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        T::take(from).map(Self::new)
    }
}

impl<T: Kept> Kept for Vec<T> {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        to.count(self.len());
        for one in self {
            one.put(to);
        }
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        let mut all = Self::new();
        for _ in 0..from.count()? {
            from.afford(size_of::<T>())?;
            all.push(T::take(from)?);
        }
        all.shrink_to_fit();
        Ok(all)
    }
}

impl<T: Kept> Kept for Arc<[T]> {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        to.count(self.len());
        for one in self.iter() {
            one.put(to);
        }
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        Ok(Vec::take(from)?.into())
    }
}

impl Kept for BTreeSet<Box<str>> {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        to.count(self.len());
        for one in self {
            one.put(to);
        }
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        Ok(Vec::take(from)?.into_iter().collect())
    }
}

impl Kept for Timestamp {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        to.signed(self.as_second());
        to.signed(self.subsec_nanosecond().into());
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        let second = from.signed()?;
        let nanosecond = i32::try_from(from.signed()?).unwrap_or(i32::MAX);
        let at = Self::new(second, nanosecond);
        at.map_err(|_| Refused::Garbled("it holds a time beyond all times"))
    }
}

impl Kept for Duration {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        to.number(self.as_secs());
        to.number(self.subsec_nanos().into());
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        let seconds = from.number()?;
        match u32::try_from(from.number()?) {
            Ok(nanos @ ..1_000_000_000) => Ok(Self::new(seconds, nanos)),
            _ => Err(Refused::Garbled("it holds an impossible duration")),
        }
    }
}

impl Kept for Date {
    fn put<'a>(&'a self, to: &mut Out<'a>) {
        to.signed(self.year().into());
        to.bytes(&[self.month().cast_unsigned(), self.day().cast_unsigned()]);
    }

    fn take(from: &mut In<'_>) -> Result<Self, Refused> {
        let year = i16::try_from(from.signed()?).unwrap_or(i16::MAX);
        let (month, day) = (from.byte()?.cast_signed(), from.byte()?.cast_signed());
        let date = Self::new(year, month, day);
        date.map_err(|_| Refused::Garbled("it holds a day that no calendar has"))
    }
}
