//! In a dedicated worker of a real browser: the network on WebGPU and on the CPU against PyTorch's values, and
//! the JavaScript interface with good and bad input.

#![cfg(target_arch = "wasm32")]

use js_sys::{Float32Array, Float64Array, Object, Reflect, Uint8Array, Uint32Array};
use safetensors::{Dtype, SafeTensors};
use tu_model::model_file::read_metadata;
use tu_model::{KnownAnswer, Network, Precision, replace_metadata, sha256_hex};
use tu_web::{Engine, Segmentation};
use wasm_bindgen::JsValue;
use wasm_bindgen_test::{console_log, wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

const MODEL: &[u8] = include_bytes!("../../../tests/fixtures/emmamba_micro.safetensors");
const VALUES: &[u8] = include_bytes!("../../../tests/fixtures/emmamba_micro_io.safetensors");

/// Values of a tensor as the network sees them: intensities of 8 bits become 0…1.
fn fixture(name: &str) -> (Vec<usize>, Vec<f32>) {
    let file = SafeTensors::deserialize(VALUES).unwrap();
    let view = file.tensor(name).unwrap();
    let values = match view.dtype() {
        Dtype::U8 => view.data().iter().map(|v| f32::from(*v) / 255.0).collect(),
        Dtype::F32 => view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        other => panic!("{name} is {other:?}"),
    };
    (view.shape().to_vec(), values)
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

async fn difference_from_pytorch(device: &burn::tensor::Device) -> f32 {
    difference_of(&Network::from_bytes(MODEL, device).unwrap()).await
}

async fn difference_of(network: &Network) -> f32 {
    let (shape, input) = fixture("test.input");
    let (_, expected) = fixture("test.output");
    let window = [shape[2], shape[3], shape[4]];
    largest_difference(&network.affinities(input, window).await.unwrap(), &expected)
}

#[wasm_bindgen_test]
async fn webgpu_affinities_equal_pytorch() {
    let device = tu_web::webgpu_device().await.unwrap();
    let difference = difference_from_pytorch(&device).await;
    console_log!("WebGPU against PyTorch: max |Δ| = {difference:e}");
    assert!(difference <= 1e-3);
}

/// The network itself, where the adapter has 16-bit floats; the interface, whether it has them or not.
#[wasm_bindgen_test]
async fn f16_is_taken_where_webgpu_has_it_and_stays_close_to_pytorch() {
    let device = tu_web::webgpu_device().await.unwrap();
    let offered = Precision::F16.is_offered_by(&device);
    if offered {
        let network = Network::from_bytes(MODEL, &device).unwrap().in_precision(Precision::F16).unwrap();
        let difference = difference_of(&network).await;
        console_log!("WebGPU in f16 against PyTorch: max |Δ| = {difference:e}");
        assert!(difference > 1e-6 && difference <= 1e-2);
    } else {
        console_log!("SKIPPED in part: the adapter has no shader-f16");
    }
    for (kind, expected) in [("webgpu", if offered { "f16" } else { "f32" }), ("cpu", "f32")] {
        let engine = Engine::create(kind.to_owned()).await.unwrap();
        let (bytes, hash) = (Uint8Array::from(MODEL), sha256_hex(MODEL));
        let info = engine.load_model(bytes, hash, "f16".to_owned()).await.unwrap();
        assert_eq!(property(&info, "precision").as_string().unwrap(), expected, "{kind}");
        let refused = property(&info, "precision_refused").as_string();
        assert_eq!(refused.is_some(), expected == "f32", "{kind}: {refused:?}");
    }
}

#[wasm_bindgen_test]
async fn cpu_affinities_equal_pytorch() {
    let difference = difference_from_pytorch(&burn::tensor::Device::flex()).await;
    console_log!("CPU in the browser against PyTorch: max |Δ| = {difference:e}");
    assert!(difference <= 1e-4);
}

fn property(of: &JsValue, key: &str) -> JsValue {
    Reflect::get(of, &key.into()).unwrap()
}

fn numbers(values: [f64; 3]) -> JsValue {
    values.iter().map(|v| JsValue::from_f64(*v)).collect::<js_sys::Array>().into()
}

fn options(info: &JsValue, volume_zyx: [f64; 3]) -> JsValue {
    let object = Object::new();
    for key in ["tile_zyx", "halo_zyx", "fragment_method", "scoring"] {
        Reflect::set(&object, &key.into(), &property(info, key)).unwrap();
    }
    Reflect::set(&object, &"volume_zyx".into(), &numbers(volume_zyx)).unwrap();
    object.into()
}

/// Two tiles side by side through the whole interface, on the given device; returns all that was decided.
async fn segment_two_tiles(device: &str) -> (Vec<u8>, Vec<u64>, Vec<u64>) {
    let engine = Engine::create(device.to_owned()).await.unwrap();
    assert_eq!(engine.backend(), device);
    let info = engine.load_model(Uint8Array::from(MODEL), sha256_hex(MODEL), "f32".to_owned()).await.unwrap();
    assert!(property(&info, "parameters").as_f64().unwrap() > 0.0);
    let tile_x = property(&property(&info, "tile_zyx"), "2").as_f64().unwrap();
    let volume = [5.0, 20.0, tile_x + 7.0];
    let mut segmentation = Segmentation::new(options(&info, volume)).unwrap();
    let (mut bins, mut ids) = (Vec::new(), Vec::new());
    for x in 0..2 {
        let index = Uint32Array::from([0u32, 0, x].as_slice());
        let tile = segmentation.tile(&index).unwrap();
        let extent = |key: &str, axis: &str| property(&property(&tile, key), axis).as_f64().unwrap() as usize;
        let shape = ["0", "1", "2"].map(|axis| extent("read_shape_zyx", axis));
        let origin_x = extent("read_origin_zyx", "2");
        let mut data = Vec::new();
        for z in 0..shape[0] {
            for y in 0..shape[1] {
                data.extend((0..shape[2]).map(|v| ((z * 31 + y * 17 + (v + origin_x) * 7) % 256) as f32));
            }
        }
        let affinities = engine
            .affinities(
                Float64Array::from(volume.as_slice()),
                index.clone(),
                Float32Array::from(data.as_slice()),
                255.0,
            )
            .await
            .unwrap();
        let own: usize = ["0", "1", "2"].map(|axis| extent("shape_zyx", axis)).iter().product();
        let labels = segmentation.add_tile(&index, &affinities).unwrap().to_vec();
        assert_eq!((affinities.length() as usize, labels.len()), (3 * shape.iter().product::<usize>(), own));
        bins.extend(affinities.to_vec());
        ids.extend(labels);
    }
    (bins, ids, segmentation.equivalences(1.0).to_vec())
}

#[wasm_bindgen_test]
async fn two_tiles_pass_through_the_interface_on_the_cpu() {
    let (bins, ids, pairs) = segment_two_tiles("cpu").await;
    assert!(ids.iter().any(|id| *id != 0));
    assert!(!pairs.is_empty(), "at threshold 1 everything in contact merges");
    assert!(pairs.as_chunks::<2>().0.iter().all(|[fragment, root]| root < fragment));
    assert_eq!(segment_two_tiles("cpu").await, (bins, ids, pairs), "the CPU is deterministic");
}

#[wasm_bindgen_test]
async fn two_tiles_pass_through_the_interface_on_webgpu() {
    let (gpu, ..) = segment_two_tiles("webgpu").await;
    let (cpu, ..) = segment_two_tiles("cpu").await;
    let apart = gpu.iter().zip(&cpu).filter(|(a, b)| a != b).count();
    console_log!("bins that differ between WebGPU and CPU: {apart} of {}", gpu.len());
    assert!(gpu.iter().zip(&cpu).all(|(a, b)| a.abs_diff(*b) <= 1));
}

fn code(thrown: &JsValue) -> String {
    for key in ["message", "hint"] {
        assert!(property(thrown, key).is_string());
    }
    property(thrown, "code").as_string().unwrap()
}

#[wasm_bindgen_test]
async fn a_model_with_another_hash_or_content_is_refused() {
    let engine = Engine::create("cpu".to_owned()).await.unwrap();
    let wrong =
        engine.load_model(Uint8Array::from(MODEL), "00".repeat(32), "f32".to_owned()).await.unwrap_err();
    assert_eq!(code(&wrong), "model_hash");
    let cut = &MODEL[..MODEL.len() / 2];
    let broken =
        engine.load_model(Uint8Array::from(cut), sha256_hex(cut), "f32".to_owned()).await.unwrap_err();
    assert_eq!(code(&broken), "model_file");
    let none = engine
        .affinities(
            Float64Array::from([1.0; 3].as_slice()),
            Uint32Array::from([0u32; 3].as_slice()),
            Float32Array::new_with_length(1),
            255.0,
        )
        .await
        .unwrap_err();
    assert_eq!(code(&none), "no_model");
}

/// The model with small tiles and the known answer of its window, as `tu-train known-answer` writes it.
async fn sealed_model() -> Vec<u8> {
    let mut metadata = read_metadata(MODEL).unwrap();
    (metadata.tile_zyx, metadata.halo_zyx) = ([2, 16, 16], [1, 8, 8]);
    let cpu = Network::from_bytes(MODEL, &burn::tensor::Device::flex()).unwrap();
    metadata.known_answer = Some(KnownAnswer::compute(&cpu, 9, metadata.window_zyx()).await.unwrap());
    replace_metadata(MODEL, &metadata).unwrap()
}

async fn load(device: &str, bytes: &[u8], precision: &str) -> (Engine, Result<JsValue, JsValue>) {
    let engine = Engine::create(device.to_owned()).await.unwrap();
    let loaded = engine.load_model(Uint8Array::from(bytes), sha256_hex(bytes), precision.to_owned()).await;
    (engine, loaded)
}

#[wasm_bindgen_test]
async fn both_devices_give_the_known_answer_of_a_whole_window() {
    let bytes = sealed_model().await;
    for device in ["webgpu", "cpu"] {
        for precision in ["f32", "f16"] {
            let (engine, loaded) = load(device, &bytes, precision).await;
            loaded.unwrap();
            engine.check_known_answer().await.unwrap();
        }
    }
}

#[wasm_bindgen_test]
async fn a_flipped_weight_and_a_flipped_value_are_refused_although_the_hash_fits() {
    let bytes = sealed_model().await;
    // Another exponent in a bias of the head.
    let bias =
        SafeTensors::deserialize(&bytes).unwrap().tensor("out.conv.conv.bias").unwrap().data().as_ptr();
    let mut flipped = bytes.clone();
    flipped[bias as usize - bytes.as_ptr() as usize + 3] ^= 0x40;
    let mut metadata = read_metadata(&bytes).unwrap();
    let known = metadata.known_answer.as_mut().unwrap();
    known.values[40] = 1.0 - 0.5 * known.values[40];
    let edited = replace_metadata(&bytes, &metadata).unwrap();
    for damaged in [flipped, edited] {
        let (_, refused) = load("webgpu", &damaged, "f32").await;
        let refused = refused.unwrap_err();
        assert_eq!(code(&refused), "gpu_wrong");
        let message = property(&refused, "message").as_string().unwrap();
        assert!(message.contains("adapter") && message.contains("0.001"), "{message}");

        // The CPU takes the file as it is, and finds the damage when asked.
        let (engine, loaded) = load("cpu", &damaged, "f32").await;
        loaded.unwrap();
        assert_eq!(code(&engine.check_known_answer().await.unwrap_err()), "known_answer");
    }
    let empty = Engine::create("cpu".to_owned()).await.unwrap();
    assert_eq!(code(&empty.check_known_answer().await.unwrap_err()), "no_model");
}

#[wasm_bindgen_test]
async fn the_adapter_is_described_before_a_device_is_opened_on_it() {
    let facts = tu_web::webgpu_adapter().await.unwrap();
    let engine = Engine::create("webgpu".to_owned()).await.unwrap();
    assert_eq!(property(&facts, "description").as_string().unwrap(), engine.adapter());
    assert!(property(&facts, "fallback").as_bool().is_some());
    let offered = Precision::F16.is_offered_by(&tu_web::webgpu_device().await.unwrap());
    assert_eq!(engine.offers_f16(), offered);
    assert!(!Engine::create("cpu".to_owned()).await.unwrap().offers_f16());
}

#[wasm_bindgen_test]
async fn arguments_that_do_not_fit_are_refused() {
    assert_eq!(code(&Engine::create("tpu".to_owned()).await.err().unwrap()), "device_name");
    let engine = Engine::create("cpu".to_owned()).await.unwrap();
    let info = engine.load_model(Uint8Array::from(MODEL), sha256_hex(MODEL), "f32".to_owned()).await.unwrap();
    let (bytes, hash) = (Uint8Array::from(MODEL), sha256_hex(MODEL));
    assert_eq!(code(&engine.load_model(bytes, hash, "bf16".to_owned()).await.unwrap_err()), "argument");
    assert_eq!(code(&Segmentation::new(JsValue::NULL).err().unwrap()), "argument");
    assert_eq!(code(&Segmentation::new(options(&info, [0.5, 1.0, 1.0])).err().unwrap()), "argument");
    let mut segmentation = Segmentation::new(options(&info, [4.0, 16.0, 16.0])).unwrap();
    let index = Uint32Array::from([0u32; 3].as_slice());
    let short = segmentation.add_tile(&index, &Uint8Array::new_with_length(5)).unwrap_err();
    assert_eq!(code(&short), "argument");
    let outside = Uint32Array::from([9u32, 0, 0].as_slice());
    assert_eq!(code(&segmentation.tile(&outside).unwrap_err()), "argument");
    assert!(!segmentation.remove_tile(&Uint32Array::from([0u32; 3].as_slice())).unwrap());
}
