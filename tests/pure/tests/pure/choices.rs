//! Random bytes as decisions. Zeros, and whatever is asked for behind the last byte, are the first or most harmless choice,
//! so that a failing world shrinks to a simple one.

pub struct Choices {
    bytes: Vec<u8>,
    position: usize,
}

impl Choices {
    pub fn new(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            position: 0,
        }
    }

    fn byte(&mut self) -> usize {
        let byte = self.bytes.get(self.position).copied().unwrap_or_default();
        self.position += 1;
        usize::from(byte)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        if end > 256 {
            let number = self.byte() * 256 + self.byte();
            return number * end / (256 * 256);
        }
        self.byte() * end / 256
    }

    /// Whether something happens that happens in so many cases of a hundred.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.byte() * 100 >= (100 - percent) * 256
    }

    pub fn one_of<T: Clone>(&mut self, values: &[T]) -> T {
        let index = self.below(values.len());
        values[index].clone()
    }
}
