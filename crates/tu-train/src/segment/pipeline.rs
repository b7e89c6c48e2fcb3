//! Tiles between the device that computes them and the workers that go on with them.

use std::collections::VecDeque;

use tu_model::{Network, PendingBins};
use tu_segment::{Tile, quantise_affinity};

use super::compute::ComputedTile;

/// A tile whose affinities are there or on their way.
pub(super) enum Computing {
    Done(ComputedTile),
    OnDevice(Tile, PendingBins),
}

impl Computing {
    /// Waits for the device.
    fn finish(self) -> Result<ComputedTile, String> {
        match self {
            Self::Done(computed) => Ok(computed),
            Self::OnDevice(tile, bins) => {
                let bins = bins.read_blocking().map_err(|e| e.to_string())?;
                Ok(ComputedTile { tile, bins, exact: None, fragments: None })
            }
        }
    }

    /// Has the network compute a window; unquantised affinities are waited for.
    pub(super) fn start(
        network: &Network,
        window: Vec<f32>,
        tile: Tile,
        exact: bool,
    ) -> Result<Self, String> {
        if !exact {
            let bins = network.enqueue_bins(window, &tile).map_err(|e| e.to_string())?;
            return Ok(Self::OnDevice(tile, bins));
        }
        let affinities = network.tile_affinities_blocking(window, &tile).map_err(|e| e.to_string())?;
        let bins = affinities.iter().copied().map(quantise_affinity).collect();
        Ok(Self::Done(ComputedTile { tile, bins, exact: Some(affinities), fragments: None }))
    }
}

/// Hands tiles on in the order they came in, each after `ahead` more have been started, or in the end.
pub(super) struct Pipeline<D> {
    waiting: VecDeque<([u64; 3], Computing)>,
    ahead: usize,
    deliver: D,
}

impl<D: FnMut([u64; 3], Result<ComputedTile, String>) -> bool> Pipeline<D> {
    /// Nothing under way; `deliver` says whether it takes more.
    pub(super) fn new(ahead: usize, deliver: D) -> Self {
        Self { waiting: VecDeque::new(), ahead, deliver }
    }

    /// Takes a tile in; false if nobody wants results any more.
    pub(super) fn push(&mut self, index: [u64; 3], tile: Computing) -> bool {
        self.waiting.push_back((index, tile));
        self.drain(self.ahead)
    }

    /// Hands on all but `left` tiles.
    pub(super) fn drain(&mut self, left: usize) -> bool {
        while self.waiting.len() > left {
            let Some((index, tile)) = self.waiting.pop_front() else { break };
            if !(self.deliver)(index, tile.finish()) {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tu_segment::TileGrid;

    use super::*;

    fn tile(z: u64) -> Computing {
        let grid = TileGrid::new([9, 1, 1], [1; 3], [0; 3]).unwrap();
        let tile = grid.tile([z, 0, 0]).unwrap();
        Computing::Done(ComputedTile { tile, bins: vec![z as u8; 3], exact: None, fragments: None })
    }

    #[test]
    fn tiles_are_handed_on_in_order_and_no_more_than_asked_for_are_under_way() {
        for ahead in 0..4 {
            let delivered = RefCell::new(Vec::new());
            let mut pipeline = Pipeline::new(ahead, |index: [u64; 3], computed: Result<ComputedTile, _>| {
                assert_eq!(computed.unwrap().tile.index_zyx, index);
                delivered.borrow_mut().push(index[0]);
                true
            });
            for z in 0..6 {
                assert!(pipeline.push([z, 0, 0], tile(z)));
                let under_way = z as usize + 1 - delivered.borrow().len();
                assert_eq!(under_way, ahead.min(z as usize + 1));
            }
            assert!(pipeline.drain(0));
            assert_eq!(*delivered.borrow(), [0, 1, 2, 3, 4, 5]);
        }
    }

    #[test]
    fn nothing_is_waited_for_once_nobody_wants_results() {
        let delivered = RefCell::new(0);
        let mut pipeline = Pipeline::new(1, |_, _| {
            *delivered.borrow_mut() += 1;
            false
        });
        assert!(pipeline.push([0; 3], tile(0)));
        assert!(!pipeline.push([1, 0, 0], tile(1)));
        assert_eq!(*delivered.borrow(), 1);
    }
}
