//! From a phantom to scores, in one way and another.

use tu_model::Network;
use tu_segment::{AffinityView, EdgeStatistic, RegionGraph, TileFragments, TileGrid};
use tu_volume::Region;

use super::*;

/// The post-processing that the bench's model asks for.
const AS_THE_MODEL: &[&str] = &["--fragment-method", "seeded", "--scoring", "mean", "--threshold", "0.5"];

#[test]
fn a_phantom_is_segmented_and_scored_from_end_to_end() {
    let bench = Bench::new();
    let made =
        bench.segment("segments.zarr", &["--affinities", "a.zarr", "--write-fragments", "fragments.zarr"]);
    assert_eq!((made["tiles"].as_u64(), made["voxels"].as_u64()), (Some(27), Some(20 * 40 * 44)));
    assert!(made["segments"].as_u64() <= made["fragments"].as_u64() && made["segments"].as_u64() > Some(0));
    let segments = bench.labels("segments.zarr");
    let roots: std::collections::BTreeSet<u64> = segments.iter().copied().filter(|id| *id != 0).collect();
    assert_eq!(roots.len() as u64, made["segments"].as_u64().unwrap());

    let scores =
        bench.json(&["evaluate", "--segmentation", "segments.zarr", "--truth", "phantom.zarr/labels"]);
    for key in ["voi_split", "voi_merge", "voi", "arand"] {
        assert!(scores[key].as_f64().is_some_and(f64::is_finite), "{key}");
    }
    assert_eq!(scores["voxels"].as_u64(), Some(20 * 40 * 44));
    let perfect =
        bench.json(&["evaluate", "--segmentation", "phantom.zarr/labels", "--truth", "phantom.zarr/labels"]);
    assert_eq!((perfect["voi"].as_f64(), perfect["arand"].as_f64()), (Some(0.0), Some(0.0)));
    assert!(bench.open("segments.zarr").voxel_nm_zyx() == Some([20.0; 3]));
    assert!(!bench.path("segments.zarr.unfinished").exists(), "the working folder is gone when all is done");
}

#[test]
fn segmenting_equals_agglomerating_ones_own_affinities_on_the_same_tiles() {
    let bench = Bench::new();
    std::fs::write(bench.path("model.safetensors"), model_without_halo()).unwrap();
    bench.segment("segments.zarr", &["--affinities", "a.zarr"]);
    bench.ok(&[
        "affinities",
        "--input",
        "phantom.zarr/raw",
        "--model",
        "model.safetensors",
        "--output",
        "f32.zarr",
    ]);
    for stored in ["a.zarr", "f32.zarr"] {
        let output = format!("again_{stored}");
        let arguments = [
            "agglomerate",
            "--affinities",
            stored,
            "--output",
            &output,
            "--tile",
            "8,16,16",
            "--halo",
            "0,0,0",
        ];
        bench.ok(&[&arguments, AS_THE_MODEL].concat());
        assert!(bench.labels(&output) == bench.labels("segments.zarr"), "{stored}");
    }
}

#[test]
fn agglomerating_in_one_piece_is_the_region_graph_of_the_whole_volume() {
    let bench = Bench::new();
    bench.segment("unused.zarr", &["--affinities", "a.zarr"]);
    let arguments =
        ["agglomerate", "--affinities", "a.zarr", "--output", "s.zarr", "--write-fragments", "f.zarr"];
    bench.ok(&[&arguments, AS_THE_MODEL].concat());

    let affinities = bench.open("a.zarr");
    let bins = affinities.read_channels_u8(&affinities.region()).unwrap();
    let view = AffinityView::new(&bins, [20, 40, 44]).unwrap();
    let grid = TileGrid::new([20, 40, 44], [20, 40, 44], [0; 3]).unwrap();
    let method = "seeded".parse().unwrap();
    let tile = TileFragments::compute(&grid, [0; 3], &view, &method).unwrap();
    let mut graph = RegionGraph::new(grid);
    graph.insert(&tile);
    let mut expected = tile.labels().to_vec();
    assert!(bench.labels("f.zarr") == expected);
    graph.agglomerate(EdgeStatistic::Mean.into(), 0.5).relabel(&mut expected);
    assert!(bench.labels("s.zarr") == expected);

    let given = ["agglomerate", "--affinities", "a.zarr", "--fragments", "f.zarr", "--output", "given.zarr"];
    bench.ok(&[&given[..], &["--scoring", "mean"]].concat());
    assert!(
        bench.labels("given.zarr") == expected,
        "its own fragments, given back, lead to the same segments"
    );
}

#[test]
fn a_region_has_the_affinities_and_fragments_that_the_whole_volume_has_there() {
    let bench = Bench::new();
    // Neither side of the region lies on the grid of tiles.
    let roi = ["--roi", "5:18,7:,3:30"];
    let outputs = |name: &str| [format!("{name}_a.zarr"), format!("{name}_f.zarr"), format!("{name}_s.zarr")];
    let ([wa, wf, ws], [ra, rf, rs]) = (outputs("whole"), outputs("region"));
    bench.segment(&ws, &["--affinities", &wa, "--write-fragments", &wf, "--threshold", "0"]);
    bench.segment(
        &rs,
        &[&["--affinities", &ra, "--write-fragments", &rf, "--threshold", "0"], &roi[..]].concat(),
    );
    let inside = Region { origin_zyx: [5, 7, 3], shape_zyx: [13, 33, 27] };
    assert_eq!(bench.open(&rs).shape_zyx(), [13, 33, 27]);
    assert_eq!(bench.open(&rs).voxel_offset_zyx(), [5, 7, 3]);
    let whole = bench.open(&wa).read_channels_u8(&inside).unwrap();
    let region = bench.open(&ra);
    assert!(whole == region.read_channels_u8(&region.region()).unwrap());
    for (whole, region) in [(&wf, &rf), (&ws, &rs)] {
        assert!(bench.open(whole).read_u64(&inside).unwrap() == bench.labels(region));
        // `evaluate` lays the region where it belongs.
        let scores = bench.json(&["evaluate", "--segmentation", region, "--truth", whole]);
        assert_eq!(scores["roi"], "5:18,7:40,3:30");
        assert_eq!(scores["voi"].as_f64(), Some(0.0));
    }
}

#[test]
fn format_of_the_output_and_number_of_threads_change_no_voxel() {
    let bench = Bench::new();
    bench.segment("zarr.zarr", &["--threads", "1"]);
    bench.segment("precomputed", &["--threads", "3"]);
    assert_eq!(bench.open("precomputed").format(), "precomputed");
    assert!(bench.labels("zarr.zarr") == bench.labels("precomputed"));
}

#[test]
fn one_window_is_what_the_network_gives_for_it() {
    let bench = Bench::new();
    let common =
        ["affinities", "--input", "phantom.zarr/raw", "--model", "model.safetensors", "--device", "cpu"];
    bench.ok(&[&common[..], &["--whole", "--roi", "2:9,4:36,8:40", "--output", "w.zarr"]].concat());
    let region = Region { origin_zyx: [2, 4, 8], shape_zyx: [7, 32, 32] };
    let mut window = bench.open("phantom.zarr/raw").read_f32(&region).unwrap();
    window.iter_mut().for_each(|v| *v /= 255.0);
    let network = Network::from_bytes(&model(), &Device::flex()).unwrap();
    let expected = network.affinities_blocking(window, region.shape_zyx).unwrap();
    let written = bench.open("w.zarr");
    let written = written.read_channels_f32(&written.region()).unwrap();
    assert_eq!(written.len(), expected.len());
    assert!(written.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5));
    bench.fails(
        &[&common[..], &["--whole", "--roi", "0:9,0:33,0:32", "--output", "no.zarr"]].concat(),
        &["multiples of 16", "0:9,0:33,0:32", "leave --whole out"],
    );
    assert!(!bench.path("no.zarr").exists());
}

#[test]
fn models_and_volumes_describe_themselves() {
    let bench = Bench::new();
    let about = bench.json(&["info", "model.safetensors"]);
    assert_eq!(about["parameters"].as_u64(), Some(architecture().parameter_count() as u64));
    assert_eq!(about["metadata"]["tile_zyx"], serde_json::json!([8, 16, 16]));
    assert!(bench.ok(&["info", "model.safetensors"]).contains("[20.0, 20.0, 20.0] nm"));
    let about = bench.json(&["info", "phantom.zarr/raw"]);
    assert_eq!(about["shape_zyx"], serde_json::json!([20, 40, 44]));
    assert!(bench.ok(&["info", "phantom.zarr/labels|zarr3:"]).contains("uint64"));
}

#[test]
fn real_em_is_segmented_in_a_region() {
    let data = std::env::var("TU_DATA")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").to_owned());
    let raw = Path::new(&data).join("fib25_ts2.zarr/raw");
    if !raw.exists() {
        eprintln!("SKIPPED real_em_is_segmented_in_a_region: {} is not there", raw.display());
        return;
    }
    let raw = raw.canonicalize().unwrap();
    let bench = Bench { folder: tempfile::tempdir().unwrap() };
    std::fs::write(bench.path("model.safetensors"), model()).unwrap();
    let common =
        ["segment", "--input", raw.to_str().unwrap(), "--model", "model.safetensors", "--device", "cpu"];
    let made =
        bench.json(&[&common[..], &["--output", "s.zarr", "--roi", "180:196,100:148,100:148"]].concat());
    assert_eq!(made["voxels"].as_u64(), Some(16 * 48 * 48));
    let truth = raw.parent().unwrap().join("labels");
    let scores = bench.json(&["evaluate", "--segmentation", "s.zarr", "--truth", truth.to_str().unwrap()]);
    assert_eq!(scores["roi"], "180:196,100:148,100:148");
    assert!(scores["voi"].as_f64().is_some_and(|voi| voi > 0.0));
}
