//! Fragments and the region graph of one volume.

use js_sys::{BigUint64Array, Float64Array, Object, Reflect, Uint8Array, Uint32Array};
use serde::Deserialize;
use tu_segment::{AffinityView, FragmentMethod, RegionGraph, Scoring, TileFragments, TileGrid};
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

use crate::failure::Failure;

/// How a volume is tiled and segmented.
#[derive(Deserialize)]
struct Options {
    volume_zyx: [f64; 3],
    tile_zyx: [u32; 3],
    halo_zyx: [u32; 3],
    fragment_method: FragmentMethod,
    scoring: Scoring,
}

/// The tiles of one volume that are segmented so far.
#[wasm_bindgen]
pub struct Segmentation {
    grid: TileGrid,
    method: FragmentMethod,
    scoring: Scoring,
    graph: RegionGraph,
}

#[wasm_bindgen]
impl Segmentation {
    /// An empty segmentation; `options` is `{volume_zyx, tile_zyx, halo_zyx, fragment_method, scoring}`.
    ///
    /// # Errors
    /// Throws `argument` when the options are incomplete or the grid is not possible.
    #[wasm_bindgen(constructor)]
    pub fn new(options: JsValue) -> Result<Segmentation, JsValue> {
        let options: Options =
            serde_wasm_bindgen::from_value(options).map_err(|e| argument(e.to_string()))?;
        let volume = whole(options.volume_zyx)?;
        let grid =
            TileGrid::new(volume, options.tile_zyx.map(|v| v as usize), options.halo_zyx.map(|v| v as usize))
                .map_err(|e| argument(e.to_string()))?;
        let graph = RegionGraph::new(grid.clone());
        Ok(Self { grid, method: options.fragment_method, scoring: options.scoring, graph })
    }

    /// Tiles along z, y, x.
    pub fn tile_counts(&self) -> Float64Array {
        Float64Array::from(self.grid.counts_zyx().map(|v| v as f64).as_slice())
    }

    /// Geometry of a tile: `{origin_zyx, shape_zyx, read_origin_zyx, read_shape_zyx}`, arrays of numbers.  The
    /// read region is the part of the tile's window that lies inside the volume.
    ///
    /// # Errors
    /// Throws `argument` when there is no such tile.
    pub fn tile(&self, index_zyx: &Uint32Array) -> Result<JsValue, JsValue> {
        let tile =
            self.grid.tile(triple_u32(index_zyx)?.map(u64::from)).map_err(|e| argument(e.to_string()))?;
        let object = Object::new();
        let numbers = |v: [f64; 3]| -> JsValue {
            v.iter().map(|x| JsValue::from_f64(*x)).collect::<js_sys::Array>().into()
        };
        for (key, value) in [
            ("origin_zyx", tile.origin_zyx.map(|v| v as f64)),
            ("shape_zyx", tile.shape_zyx.map(|v| v as f64)),
            ("read_origin_zyx", tile.read_origin_zyx.map(|v| v as f64)),
            ("read_shape_zyx", tile.read_shape_zyx.map(|v| v as f64)),
        ] {
            Reflect::set(&object, &key.into(), &numbers(value))?;
        }
        Ok(object.into())
    }

    /// Makes the fragments of a tile from the quantised affinities `[3, read_shape_zyx]` of it and its halo, and adds them to the
    /// graph.
    /// Returns the canonical fragment id of every voxel of the clipped tile, x fastest; 0 is none.
    ///
    /// # Errors
    /// Throws `argument` when the affinities are not of that size.
    pub fn add_tile(
        &mut self,
        index_zyx: &Uint32Array,
        affinities: &Uint8Array,
    ) -> Result<BigUint64Array, JsValue> {
        let index = triple_u32(index_zyx)?.map(u64::from);
        let tile = self.grid.tile(index).map_err(|e| argument(e.to_string()))?;
        let values = affinities.to_vec();
        let view = AffinityView::new(&values, tile.read_shape_zyx).map_err(|e| argument(e.to_string()))?;
        let fragments = TileFragments::compute(&self.grid, index, &view, &self.method)
            .map_err(|e| argument(e.to_string()))?;
        self.graph.insert(&fragments);
        Ok(BigUint64Array::from(fragments.labels()))
    }

    /// Forgets a tile; false when it was not there.
    ///
    /// # Errors
    /// Throws `argument` when the index has not three numbers.
    pub fn remove_tile(&mut self, index_zyx: &Uint32Array) -> Result<bool, JsValue> {
        Ok(self.graph.remove(triple_u32(index_zyx)?.map(u64::from)))
    }

    /// Agglomerates the tiles that are in: merges while the score of the best edge is below `threshold`.  Returns
    /// flat pairs (fragment, root) for every fragment that is not its own root; a root is the smallest id of
    /// its segment.
    pub fn equivalences(&self, threshold: f64) -> BigUint64Array {
        let agglomeration = self.graph.agglomerate(self.scoring, threshold as f32);
        let flat: Vec<u64> = agglomeration.pairs().flat_map(|(fragment, root)| [fragment, root]).collect();
        BigUint64Array::from(flat.as_slice())
    }

    /// Index (z, y, x) of the tile that a fragment id was given in; undefined for 0 and for ids outside.
    pub fn tile_of_id(&self, id: u64) -> Option<Float64Array> {
        self.grid.tile_of_id(id).map(|index| Float64Array::from(index.map(|v| v as f64).as_slice()))
    }
}

fn argument(message: String) -> Failure {
    Failure::lasting("argument", message, "")
}

/// Three numbers of a typed array.
pub(crate) fn triple_u32(values: &Uint32Array) -> Result<[u32; 3], Failure> {
    <[u32; 3]>::try_from(values.to_vec())
        .map_err(|v| argument(format!("three numbers (z, y, x) are needed, not {}", v.len())))
}

/// Three whole numbers of a typed array of doubles.
pub(crate) fn triple_u64(values: &Float64Array) -> Result<[u64; 3], Failure> {
    let triple = <[f64; 3]>::try_from(values.to_vec())
        .map_err(|v| argument(format!("three numbers (z, y, x) are needed, not {}", v.len())))?;
    whole(triple)
}

/// Doubles that are whole numbers a double can tell apart.
fn whole(values: [f64; 3]) -> Result<[u64; 3], Failure> {
    let fits = |v: f64| v.fract() == 0.0 && (0.0..=9_007_199_254_740_991.0).contains(&v);
    if values.iter().all(|v| fits(*v)) {
        Ok(values.map(|v| v as u64))
    } else {
        Err(argument(format!("{values:?} (z, y, x) are not whole numbers of voxels")))
    }
}
