use super::super::forge::Program;
use super::super::tensor::{Element, Storage, TensorView};
use super::*;

fn refusal(program: &[u8]) -> String {
    unpickle(program).err().map_or_else(|| "it was accepted".to_owned(), |e| e.to_string())
}

#[test]
fn plain_values_and_containers_are_read() {
    let program = Program::new()
        .raw(b"}q\x00(")
        .text("n")
        .raw(b"N")
        .text("yes")
        .raw(b"\x88")
        .text("small")
        .raw(b"K\x07")
        .text("medium")
        .raw(b"M\x00\x01")
        .text("negative")
        .raw(b"J\xFE\xFF\xFF\xFF")
        .text("zero")
        .raw(b"\x8a\x00")
        .text("minus one")
        .raw(b"\x8a\x01\xFF")
        .text("float")
        .raw(b"G\x3F\xF0\x00\x00\x00\x00\x00\x00")
        .text("list")
        .raw(b"](K\x01K\x02e")
        .text("pair")
        .raw(b"K\x01K\x02\x86")
        .text("huge")
        .raw(b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01u");
    let pickle = unpickle(&program.stop()).unwrap();
    let dict = pickle.dict(pickle.root()).unwrap();
    assert_eq!(dict.len(), 11);
    for key in ["n", "yes", "float", "huge"] {
        assert!(matches!(dict[key], Value::Opaque), "{key}");
    }
    for (key, value) in [("small", 7), ("medium", 256), ("negative", -2), ("zero", 0), ("minus one", -1)] {
        assert!(matches!(dict[key], Value::Int(found) if *found == value), "{key}: {:?}", dict[key]);
    }
    for key in ["list", "pair"] {
        assert!(matches!(dict[key], Value::Sequence(items) if items.len() == 2), "{key}");
    }
}

#[test]
fn calls_of_anything_unknown_are_neither_run_nor_fatal() {
    // What `__reduce__` returning (os.system, ("touch …",)) gives, then an object that is built and filled.
    let program = Program::new()
        .raw(b"}(")
        .text("attack")
        .global("posix", "system")
        .text("touch /tmp/never")
        .raw(b"\x85R")
        .text("evaluated")
        .global("builtins", "eval")
        .text("1/0")
        .raw(b"\x85R")
        .text("args")
        .global("argparse", "Namespace")
        .raw(b")\x81}(")
        .text("lr")
        .raw(b"G\x3F\xF0\x00\x00\x00\x00\x00\x00ub")
        .text("filled")
        .global("collections", "defaultdict")
        .raw(b")R(K\x01K\x02u")
        .text("after")
        .raw(b"K\x05u");
    let pickle = unpickle(&program.stop()).unwrap();
    let dict = pickle.dict(pickle.root()).unwrap();
    for key in ["attack", "evaluated", "args", "filled"] {
        assert!(matches!(dict[key], Value::Opaque), "{key}");
    }
    assert!(matches!(dict["after"], Value::Int(5)));
    let ignored: Vec<&str> = pickle.ignored().iter().map(String::as_str).collect();
    assert_eq!(ignored, ["argparse.Namespace", "builtins.eval", "collections.defaultdict", "posix.system"]);
}

#[test]
fn tensors_keep_their_view_and_ordered_dicts_their_entries() {
    let program = Program::new()
        .global("collections", "OrderedDict")
        .raw(b")R(")
        .text("w")
        .tensor(("HalfStorage", "3", 100), 10, &[2, 3], &[1, 2])
        .text("p")
        .global("torch._utils", "_rebuild_parameter")
        .raw(b"(")
        .tensor(("FloatStorage", "4", 6), 0, &[6], &[1])
        .raw(b"\x88")
        .global("collections", "OrderedDict")
        .raw(b")RtRu")
        .raw(b"}(")
        .text("_metadata")
        .raw(b"}ub");
    let pickle = unpickle(&program.stop()).unwrap();
    let dict = pickle.dict(pickle.root()).unwrap();
    let Value::Tensor(tensor) = dict["w"] else { panic!("{:?}", dict["w"]) };
    let storage = Storage { key: "3".to_owned(), element: Element::F16, elements: 100 };
    assert_eq!(**tensor, TensorView::new(storage, 10, vec![2, 3], vec![1, 2]).unwrap());
    assert!(matches!(dict["p"], Value::Tensor(tensor) if tensor.shape() == [6]));
    assert!(pickle.ignored().is_empty());
}

#[test]
fn views_beyond_their_storage_and_negative_numbers_are_refused() {
    for (elements, offset, shape, strides) in [
        (6, 0, &[7][..], &[1][..]),
        (6, 1, &[6], &[1]),
        (6, -1, &[2], &[1]),
        (6, 0, &[-2], &[1]),
        (6, 5, &[2], &[-1]),
        (-6, 0, &[2], &[1]),
        (i64::MAX, 0, &[i64::MAX, i64::MAX], &[1, 1]),
        (6, 0, &[2, 2], &[1]),
    ] {
        let program = Program::new().tensor(("FloatStorage", "0", elements), offset, shape, strides).stop();
        let message = refusal(&program);
        assert!(message.contains("storage") || message.contains("tensor"), "{message}");
    }
}

#[test]
fn memoised_cycles_are_harmless() {
    // A list that holds itself, and a dict that is its own value and its own state.
    let list = Program::new().raw(b"]q\x00h\x00a").stop();
    assert!(matches!(unpickle(&list).unwrap().root(), Value::Sequence(items) if items.len() == 1));
    let dict = Program::new().raw(b"}q\x00").text("model").raw(b"h\x00sh\x00b").stop();
    let pickle = unpickle(&dict).unwrap();
    assert_eq!(pickle.dict(pickle.root()).unwrap().len(), 1);
}

#[test]
fn programs_that_would_grow_beyond_the_bounds_are_stopped() {
    let deep = Program::new().raw(&[b'('; MAX_MARKS + 1]).stop();
    assert!(refusal(&deep).contains("nests deeper"));
    let high = Program::new().raw(b"N").raw(&vec![b'2'; MAX_STACK]).stop();
    assert!(refusal(&high).contains("stacks more"));
    let many = Program::new().raw(&b"}0".repeat(MAX_VALUES)).stop();
    assert!(refusal(&many).contains("more than 4194304 values"));
    let long_text = Program::new().raw(b"X\xFF\xFF\xFF\xFFshort").stop();
    assert!(refusal(&long_text).contains("ends in the middle"));
    let long_number = Program::new().raw(b"\x8b\xFF\xFF\xFF\xFF\x01").stop();
    assert!(refusal(&long_number).contains("ends in the middle"));
    let long_name = Program::new().raw(b"c").raw(&[b'a'; 300]).raw(b"\nb\n").stop();
    assert!(refusal(&long_name).contains("name"));
    let many_axes = Program::new().tensor(("FloatStorage", "0", 6), 0, &[1; 9], &[1; 9]).stop();
    assert!(refusal(&many_axes).contains("axes"));
}

#[test]
fn damaged_programs_are_refused() {
    for (program, expected) in [
        (&b""[..], "ends in the middle"),
        (b"\x80\x02", "ends in the middle"),
        (b"\x80\x02.", "takes more"),
        (b"\x80\x04N.", "protocol 4"),
        (b"\x80\x02NR.", "takes more"),
        (b"\x80\x02K\x01NR.", "no function"),
        (b"\x80\x02t.", "mark is missing"),
        (b"\x80\x02N(0.", "takes more"),
        (b"\x80\x02K\x01Na.", "no list"),
        (b"\x80\x02K\x01NNs.", "no dict"),
        (b"\x80\x02}(Nu.", "no dict"),
        (b"\x80\x02h\x09.", "recalls 9"),
        (b"\x80\x02NQ.", "storage"),
        (b"\x80\x02(tQ.", "storage"),
        (b"\x80\x02\x93.", "0x93"),
        (b"\x80\x02i.", "0x69"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", "tensor"),
    ] {
        let message = refusal(program);
        assert!(message.contains(expected), "{program:?}: {message}");
    }
}
