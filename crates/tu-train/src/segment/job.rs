//! A run from input to complete output.

use std::path::PathBuf;

use serde_json::{Map, Value, json};
use tu_model::Network;
use tu_segment::{AffinityView, FragmentMethod, RegionGraph, Scoring, TileFragments, TileGrid, agglomerate};
use tu_volume::{Place, Volume, VolumeUrl};

use super::assemble::{LabelOutput, assemble};
use super::compute::{AffinitySink, AffinityType, ComputedTile, for_each_tile};
use super::error::SegmentError;
use super::progress::Progress;
use super::record::TileRecord;
use super::source::RawSource;
use super::store::FragmentStore;
use super::workspace::Workspace;
use crate::roi::Roi;

/// Where affinities come from.
#[derive(Clone, Copy)]
pub enum TileInput<'a> {
    /// A network on raw EM.
    Network {
        /// The network; its tile, halo and intensity rule are those of the grid.
        network: &'a Network,
        /// The EM.
        raw: &'a dyn RawSource,
    },
    /// Stored affinities `[3, z, y, x]`, u8 or f32.
    Affinities {
        /// The affinities.
        volume: &'a Volume,
        /// Fragments to use in place of making them; the grid must then be a single tile.
        fragments: Option<&'a Volume>,
    },
}

/// What is computed and where it goes.
#[derive(Clone, Debug)]
pub struct SegmentOptions {
    /// Tiles of the whole input array.
    pub grid: TileGrid,
    /// The part that is written, in the input array's voxels.
    pub roi: Roi,
    /// How fragments are made.
    pub fragment_method: FragmentMethod,
    /// How edges are scored.
    pub scoring: Scoring,
    /// Agglomeration goes on while the best score is below.
    pub threshold: f32,
    /// URL of the segmentation, a local path: zarr by suffix, else precomputed.
    pub output: String,
    /// URL at which fragments are written too.
    pub fragments_output: Option<String>,
    /// URL at which affinities are written too, and as what.
    pub affinities_output: Option<(String, AffinityType)>,
    /// Voxel size written, nm, z y x.
    pub voxel_nm_zyx: Option<[f64; 3]>,
    /// Voxel offset of the input array, z y x; the region's first voxel is added.
    pub voxel_offset_zyx: [i64; 3],
    /// What else decides a tile, such as the model's hash and the input's URL. A run with other values is not resumed.
    pub identity: Map<String, Value>,
    /// Goes on with an interrupted run, or finds that it is complete.
    pub resume: bool,
    /// Threads that make fragments.
    pub workers: usize,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// Tiles of the region.
    pub tiles: usize,
    /// Tiles that an earlier run had done.
    pub resumed_tiles: usize,
    /// Fragments in those tiles.
    pub fragments: usize,
    /// Segments they were joined to.
    pub segments: usize,
    /// Voxels written.
    pub voxels: u64,
    /// The output was complete before this run; counts are zero then.
    pub already_complete: bool,
}

/// The folder behind a URL to write to.
pub(super) fn local_path(url: &str) -> Result<PathBuf, SegmentError> {
    match url.parse::<VolumeUrl>()?.place() {
        Place::File(path) => Ok(path.clone()),
        Place::Http { .. } => Err(SegmentError::refused(
            url,
            "volumes can be written to local folders only",
            "write to a folder and copy it to the server",
        )),
    }
}

/// Segments a region of a volume.
///
/// # Errors
/// Outputs exist already or cannot be written, the run to resume is another one, or tiles failed; an output is
/// marked complete only if every voxel of it was written.
pub fn segment(
    input: &TileInput<'_>,
    options: &SegmentOptions,
    progress: &dyn Progress,
) -> Result<SegmentSummary, SegmentError> {
    let grid = &options.grid;
    let job = describe(options);
    let job_hash: String = Workspace::hash(&job).iter().map(|b| format!("{b:02x}")).collect();
    let output = local_path(&options.output)?;
    let folder = Workspace::beside(&output);
    if let Some(summary) = look_at_outputs(options, &folder, &job_hash)? {
        return Ok(summary);
    }
    let workspace = Workspace::open(&folder, &job, options.resume)?;
    let indices = grid.tiles_intersecting(options.roi.begin_zyx, options.roi.end_zyx);
    let missing: Vec<[u64; 3]> = indices.iter().copied().filter(|index| !workspace.has(*index)).collect();
    let voxels = |indices: &[[u64; 3]]| {
        indices.iter().map(|index| Ok(grid.tile(*index)?.voxels() as u64)).sum::<Result<u64, SegmentError>>()
    };
    let (all_voxels, missing_voxels) = (voxels(&indices)?, voxels(&missing)?);
    let place = (options.voxel_nm_zyx, options.voxel_offset_zyx);
    let sink = options
        .affinities_output
        .as_ref()
        .map(|(url, stored)| {
            AffinitySink::open(url, *stored, options.roi, grid.tile_zyx(), place, options.resume)
        })
        .transpose()?;

    progress.begin("tiles", all_voxels, all_voxels - missing_voxels);
    let exact = sink.as_ref().is_some_and(AffinitySink::exact);
    let failures = for_each_tile(input, grid, &missing, (options.workers, exact), progress, &|computed| {
        if let Some(sink) = &sink {
            sink.write(&computed)?;
        }
        keep(options, &workspace, &computed)
    });
    progress.end();
    if !failures.is_empty() || indices.iter().any(|index| !workspace.has(*index)) {
        let done = indices.iter().filter(|index| workspace.has(**index)).count();
        let workspace = workspace.folder().to_owned();
        return Err(SegmentError::TilesFailed { failures, total: indices.len(), done, workspace });
    }
    if let Some(sink) = sink {
        sink.finish()?;
    }

    let mut graph = RegionGraph::new(grid.clone());
    for &index in &indices {
        graph.insert_bytes(&workspace.read(index)?.graph).map_err(|e| {
            SegmentError::refused(
                workspace.folder().display().to_string(),
                format!("tile {index:?}: {e}"),
                "delete the folder and start anew",
            )
        })?;
    }
    progress.note(&format!("agglomerating {} tiles", indices.len()));
    // The tiles' parts are let go before the edges are worked on.
    let (nodes, edges) = (graph.fragments(), graph.edges());
    drop(graph);
    let agglomeration = agglomerate(&nodes, &edges, options.scoring, options.threshold);
    drop(edges);

    let attributes = Map::from_iter([("segmentation".to_owned(), provenance(options, &job_hash))]);
    let segments = LabelOutput::open(&options.output, options.roi, place, attributes, options.resume)?;
    let fragments = options
        .fragments_output
        .as_ref()
        .map(|url| LabelOutput::open(url, options.roi, place, Map::new(), options.resume))
        .transpose()?;
    let store = FragmentStore::new(grid, &workspace);
    progress.begin("segments", options.roi.voxels(), 0);
    assemble(&store, &agglomeration, options.roi, &segments, fragments.as_ref(), progress)?;
    progress.end();
    if let Some(fragments) = fragments {
        fragments.finish()?;
    }
    segments.finish()?;
    drop(store);
    workspace.remove()?;
    Ok(SegmentSummary {
        tiles: indices.len(),
        resumed_tiles: indices.len() - missing.len(),
        fragments: nodes.len(),
        segments: agglomeration.segments(),
        voxels: options.roi.voxels(),
        already_complete: false,
    })
}

/// Everything that decides a tile's record. Scoring and threshold do not, so they may change when a run is resumed.
fn describe(options: &SegmentOptions) -> Map<String, Value> {
    let mut job = options.identity.clone();
    let grid = &options.grid;
    job.insert("volume_zyx".to_owned(), json!(grid.volume_zyx()));
    job.insert("tile_zyx".to_owned(), json!(grid.tile_zyx()));
    job.insert("halo_zyx".to_owned(), json!(grid.halo_zyx()));
    job.insert("roi".to_owned(), json!(options.roi.to_string()));
    job.insert("fragment_method".to_owned(), json!(options.fragment_method));
    let affinities = options.affinities_output.as_ref().map(|(url, stored)| format!("{url} as {stored:?}"));
    job.insert("affinities".to_owned(), json!(affinities));
    job
}

/// What a segmentation says about how it was made.
fn provenance(options: &SegmentOptions, job_hash: &str) -> Value {
    let mut made = options.identity.clone();
    made.insert("job".to_owned(), json!(job_hash));
    made.insert("tile_zyx".to_owned(), json!(options.grid.tile_zyx()));
    made.insert("halo_zyx".to_owned(), json!(options.grid.halo_zyx()));
    made.insert("fragment_method".to_owned(), json!(options.fragment_method));
    made.insert("scoring".to_owned(), json!(options.scoring));
    made.insert("threshold".to_owned(), json!(options.threshold));
    Value::Object(made)
}

/// Refuses to write over what is there, unless it is this run's own; `Some` if nothing is left to be done.
fn look_at_outputs(
    options: &SegmentOptions,
    workspace: &std::path::Path,
    job_hash: &str,
) -> Result<Option<SegmentSummary>, SegmentError> {
    let others = options.fragments_output.iter().chain(options.affinities_output.iter().map(|(url, _)| url));
    for url in std::iter::once(&options.output).chain(others) {
        if !local_path(url)?.exists() || (options.resume && workspace.exists()) {
            continue;
        }
        if options.resume && *url == options.output {
            let complete = Volume::open(url)?;
            let made = complete.attributes().get("segmentation");
            let same = |key: &str, value: &Value| made.and_then(|made| made.get(key)) == Some(value);
            if same("job", &json!(job_hash))
                && same("scoring", &json!(options.scoring))
                && same("threshold", &json!(options.threshold))
            {
                return Ok(Some(SegmentSummary {
                    tiles: 0,
                    resumed_tiles: 0,
                    fragments: 0,
                    segments: 0,
                    voxels: 0,
                    already_complete: true,
                }));
            }
        }
        return Err(SegmentError::refused(
            url,
            "there is something of that name already, and no unfinished run beside it",
            "choose another name, or delete it",
        ));
    }
    Ok(None)
}

/// Makes a tile's fragments and keeps its record.
fn keep(
    options: &SegmentOptions,
    workspace: &Workspace,
    computed: &ComputedTile,
) -> Result<(), SegmentError> {
    let index = computed.tile.index_zyx;
    let refuse = |cause: String| {
        SegmentError::refused(
            format!("tile {index:?}"),
            cause,
            "this is a fault of the program, please report it",
        )
    };
    let view =
        AffinityView::new(&computed.bins, computed.tile.read_shape_zyx).map_err(|e| refuse(e.to_string()))?;
    let made = match &computed.fragments {
        Some(labels) => TileFragments::from_labels(&options.grid, index, labels, &view),
        None => TileFragments::compute(&options.grid, index, &view, &options.fragment_method),
    }
    .map_err(|e| refuse(e.to_string()))?;
    let mut graph = RegionGraph::new(options.grid.clone());
    graph.insert(&made);
    let bytes =
        graph.tile_to_bytes(index).ok_or_else(|| refuse("it has no place in the graph".to_owned()))?;
    workspace.write(index, &TileRecord::encode(workspace.job(), &made, &bytes))
}
