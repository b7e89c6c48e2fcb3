//! The four sizes of a selective scan.

use core::fmt;

/// Sizes of one selective scan: `u`, `delta`, `y` `[batch, length, channels]`, `a` `[channels, states]`,
/// `b`, `c` `[batch, length, states]`, `d` `[channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanShape {
    /// Sequences, each with its own state.
    pub batch: usize,
    /// Tokens of a sequence.
    pub length: usize,
    /// Channels `E`.
    pub channels: usize,
    /// States `N` of every channel.
    pub states: usize,
}

/// The shapes of a scan's inputs do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanShapeError {
    input: &'static str,
    expected: [usize; 3],
    found: [usize; 3],
    rank: usize,
}

impl fmt::Display for ScanShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expected, found) = (&self.expected[..self.rank], &self.found[..self.rank]);
        write!(
            f,
            "selective scan: `{}` is {found:?} but `u` and `a` ask for {expected:?}; pass [batch, length, \
             channels] for u and delta, [channels, states] for a, [batch, length, states] for b and c, \
             [channels] for d",
            self.input
        )
    }
}

impl core::error::Error for ScanShapeError {}

impl ScanShape {
    /// Takes the sizes from `u` and `a` and compares all others with them.
    ///
    /// # Errors
    /// Names the first input whose shape differs from what `u` and `a` ask for.
    pub fn from_dims(
        u: [usize; 3],
        delta: [usize; 3],
        a: [usize; 2],
        b: [usize; 3],
        c: [usize; 3],
        d: [usize; 1],
    ) -> Result<Self, ScanShapeError> {
        let [batch, length, channels] = u;
        let states = a[1];
        let check = |input, expected, found, rank| {
            if expected == found { Ok(()) } else { Err(ScanShapeError { input, expected, found, rank }) }
        };
        check("delta", u, delta, 3)?;
        check("a", [channels, states, 0], [a[0], a[1], 0], 2)?;
        check("b", [batch, length, states], b, 3)?;
        check("c", [batch, length, states], c, 3)?;
        check("d", [channels, 0, 0], [d[0], 0, 0], 1)?;
        Ok(Self { batch, length, channels, states })
    }

    /// Elements of `u`, `delta` and `y`.
    pub fn tokens_by_channels(&self) -> usize {
        self.batch * self.length * self.channels
    }

    /// Elements of `b` and `c`.
    pub fn tokens_by_states(&self) -> usize {
        self.batch * self.length * self.states
    }

    /// Elements of `a`.
    pub fn channels_by_states(&self) -> usize {
        self.channels * self.states
    }
}
