//! The sizes of a selective scan.

use core::fmt;

/// Sizes of one selective scan: `u`, `y` `[batch, length, channels]`, `projected` `[batch, length, rank + 2 states]`,
/// `step_weight` `[groups · channels, rank]`, `step_bias`, `d` `[groups · channels]`, `a_log` `[groups · channels, states]`.
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
    /// Rank `R` of the map that gives the steps.
    pub rank: usize,
    /// Sets of parameters `G`; the first `batch / G` sequences have the first set, and so on.
    pub groups: usize,
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
            "selective scan: `{}` is {found:?} but the others ask for {expected:?}; pass u [batch, length, channels], \
             projected [batch, length, rank + 2 states], step_weight [channels, rank], step_bias [channels], a_log \
             [channels, states] and d [channels], or so many times the channels as divide the batch",
            self.input
        )
    }
}

impl core::error::Error for ScanShapeError {}

impl ScanShape {
    /// Takes the sizes from `u`, `step_weight` and `a_log` and compares all others with them.
    ///
    /// # Errors
    /// Names the first input whose shape differs from what the others ask for.
    pub fn from_dims(
        u: [usize; 3],
        projected: [usize; 3],
        step_weight: [usize; 2],
        step_bias: [usize; 1],
        a_log: [usize; 2],
        d: [usize; 1],
    ) -> Result<Self, ScanShapeError> {
        let [batch, length, channels] = u;
        let ([rows, rank], [_, states]) = (step_weight, a_log);
        let groups = rows.checked_div(channels).unwrap_or(1).max(1);
        let check = |input, expected, found, rank| {
            if expected == found { Ok(()) } else { Err(ScanShapeError { input, expected, found, rank }) }
        };
        check("projected", [batch, length, rank + 2 * states], projected, 3)?;
        let rows = groups * channels;
        check("step_weight", [rows, rank, 0], [step_weight[0], rank, 0], 2)?;
        check("step_bias", [rows, 0, 0], [step_bias[0], 0, 0], 1)?;
        check("a_log", [rows, states, 0], [a_log[0], states, 0], 2)?;
        check("d", [rows, 0, 0], [d[0], 0, 0], 1)?;
        check("u", [batch.next_multiple_of(groups), length, channels], u, 3)?;
        Ok(Self { batch, length, channels, states, rank, groups })
    }

    /// Columns of `projected`: the steps' `R`, then `B` and `C`.
    pub fn width(&self) -> usize {
        self.rank + 2 * self.states
    }

    /// The row of parameters that belongs to the first channel of a sequence.
    pub fn first_parameter(&self, sequence: usize) -> usize {
        sequence / (self.batch / self.groups) * self.channels
    }

    /// Elements of `u` and `y`.
    pub fn tokens_by_channels(&self) -> usize {
        self.batch * self.length * self.channels
    }

    /// Elements of `B`, and of `C`.
    pub fn tokens_by_states(&self) -> usize {
        self.batch * self.length * self.states
    }

    /// Elements of `projected`.
    pub fn tokens_by_width(&self) -> usize {
        self.batch * self.length * self.width()
    }
}
