//! An input as a supply of choices. What is missing is zero.

pub(super) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(super) fn array(&mut self) -> [u8; 32] {
        std::array::from_fn(|_| self.byte())
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }
}
