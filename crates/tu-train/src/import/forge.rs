//! Archives, pickles and whole checkpoints made by hand, for tests: sound ones and hostile ones.

use tu_model::{EmMambaConfig, published_shapes};

/// An entry of an archive to be made.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) data: Vec<u8>,
    /// 0: stored, 8: deflated.
    pub(super) method: u16,
    /// Size that the directory claims.
    pub(super) claimed: u32,
}

pub(super) fn stored(name: &str, data: &[u8]) -> Entry {
    Entry { name: name.to_owned(), data: data.to_vec(), method: 0, claimed: data.len() as u32 }
}

/// A zip archive without ZIP64 records.
pub(super) fn zip(entries: &[Entry]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let offset = file.len() as u32;
        let crc = crc32fast::hash(&entry.data);
        file.extend(b"PK\x03\x04");
        file.extend([0; 22]);
        file.extend((entry.name.len() as u16).to_le_bytes());
        file.extend([0; 2]);
        file.extend(entry.name.as_bytes());
        file.extend(&entry.data);
        directory.extend(b"PK\x01\x02");
        directory.extend([0; 6]);
        directory.extend(entry.method.to_le_bytes());
        directory.extend([0; 4]);
        directory.extend(crc.to_le_bytes());
        directory.extend(entry.claimed.to_le_bytes());
        directory.extend(entry.claimed.to_le_bytes());
        directory.extend((entry.name.len() as u16).to_le_bytes());
        directory.extend([0; 12]);
        directory.extend(offset.to_le_bytes());
        directory.extend(entry.name.as_bytes());
    }
    let offset = file.len() as u32;
    file.extend(&directory);
    file.extend(b"PK\x05\x06");
    file.extend([0; 4]);
    file.extend((entries.len() as u16).to_le_bytes());
    file.extend((entries.len() as u16).to_le_bytes());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(offset.to_le_bytes());
    file.extend([0; 2]);
    file
}

/// A pickle under construction; `PROTO 2` is there, `STOP` comes with [`Self::stop`].
pub(super) struct Program(Vec<u8>);

impl Program {
    pub(super) fn new() -> Self {
        Self(vec![0x80, 2])
    }

    /// Opcodes and arguments as they are.
    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub(super) fn text(self, text: &str) -> Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    /// A whole number, as LONG1.
    pub(super) fn int(self, value: i64) -> Self {
        self.raw(&[0x8a, 8]).raw(&value.to_le_bytes())
    }

    pub(super) fn ints(self, values: &[i64]) -> Self {
        values.iter().fold(self.raw(b"("), |program, &value| program.int(value)).raw(b"t")
    }

    pub(super) fn global(self, module: &str, name: &str) -> Self {
        self.raw(b"c").raw(module.as_bytes()).raw(b"\n").raw(name.as_bytes()).raw(b"\n")
    }

    /// A tensor over the storage `key` of `elements` elements.
    pub(super) fn tensor(
        self,
        (class, key, elements): (&str, &str, i64),
        offset: i64,
        shape: &[i64],
        strides: &[i64],
    ) -> Self {
        self.global("torch._utils", "_rebuild_tensor_v2")
            .raw(b"((")
            .text("storage")
            .global("torch", class)
            .text(key)
            .text("cpu")
            .int(elements)
            .raw(b"tQ")
            .int(offset)
            .ints(shape)
            .ints(strides)
            .raw(b"\x89")
            .global("collections", "OrderedDict")
            .raw(b")RtR")
    }

    pub(super) fn stop(self) -> Vec<u8> {
        self.raw(b".").0
    }
}

/// The smallest network that has all parts.
pub(super) fn architecture() -> EmMambaConfig {
    EmMambaConfig {
        features: [1, 2, 1, 1],
        hidden: 2,
        depths: [1, 0, 0, 1],
        kernel: 1,
        ..EmMambaConfig::default()
    }
    .compat()
}

/// Names and values of that network; each value is a small one of its own.
pub(super) fn weights() -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let mut next = 0;
    let mut value = || {
        next = (next + 1) % 512;
        next as f32 / 512.0 - 0.5
    };
    let shapes = published_shapes(&architecture()).into_iter();
    shapes
        .map(|(name, shape)| {
            let values = (0..shape.iter().product()).map(|_| value()).collect();
            (name, shape, values)
        })
        .collect()
}

/// A dict with these tensors, each over a storage of its own, f32; the storages are added to `entries`.
pub(super) fn state_dict(
    mut program: Program,
    weights: &[(String, Vec<usize>, Vec<f32>)],
    entries: &mut Vec<Entry>,
) -> Program {
    program = program.raw(b"}(");
    for (i, (name, shape, values)) in weights.iter().enumerate() {
        let (shape, strides) = contiguous(shape);
        program = program.text(name).tensor(
            ("FloatStorage", &i.to_string(), values.len() as i64),
            0,
            &shape,
            &strides,
        );
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        entries.push(stored(&format!("archive/data/{i}"), &bytes));
    }
    program.raw(b"u")
}

/// Shape and strides of a tensor without gaps, as a pickle has them.
pub(super) fn contiguous(shape: &[usize]) -> (Vec<i64>, Vec<i64>) {
    let shape: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
    let strides = (0..shape.len()).map(|k| shape[k + 1..].iter().product()).collect();
    (shape, strides)
}

/// An archive of these storages and a pickle.
pub(super) fn archive(mut entries: Vec<Entry>, pickle: &[u8]) -> Vec<u8> {
    entries.push(stored("archive/data.pkl", pickle));
    zip(&entries)
}

/// A checkpoint with the weights under "model" and more entries of the top-level dict before and after them.
pub(super) fn checkpoint(
    weights: &[(String, Vec<usize>, Vec<f32>)],
    before: impl Fn(Program) -> Program,
    after: impl Fn(Program) -> Program,
) -> Vec<u8> {
    let mut entries = Vec::new();
    let program = before(Program::new().raw(b"}(")).text("model");
    let program = after(state_dict(program, weights, &mut entries));
    archive(entries, &program.raw(b"u").stop())
}
