//! Tensors as a checkpoint states them: a view of a storage by offset, shape and strides, all counted in elements.
//!
//! Element `(i_0, …, i_n)` is at `offset + Σ i_k stride_k` of the storage. A view is only made if its last element
//! lies inside the storage.

use half::{bf16, f16};

/// Most axes of a tensor.
const MAX_AXES: usize = 8;

/// Type of the elements of a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F16,
    Bf16,
    F32,
    F64,
    /// No floating-point type; its PyTorch class. Not read.
    Other(String),
}

impl Element {
    /// The type of a PyTorch storage class such as `FloatStorage`.
    pub(super) fn of_storage(class: &str) -> Self {
        match class {
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::Bf16,
            "FloatStorage" => Self::F32,
            "DoubleStorage" => Self::F64,
            _ => Self::Other(class.to_owned()),
        }
    }

    /// Bytes of one element; `None` for what is not read.
    pub(super) fn bytes(&self) -> Option<u64> {
        match self {
            Self::F16 | Self::Bf16 => Some(2),
            Self::F32 => Some(4),
            Self::F64 => Some(8),
            Self::Other(_) => None,
        }
    }
}

/// A storage: one entry of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Storage {
    /// Name below `data/`.
    pub(super) key: String,
    pub(super) element: Element,
    /// Length in elements.
    pub(super) elements: u64,
}

/// A view of a storage that lies inside of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TensorView {
    storage: Storage,
    offset: u64,
    shape: Vec<usize>,
    strides: Vec<u64>,
}

impl TensorView {
    /// A view, checked against the storage's length.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub(super) fn new(
        storage: Storage,
        offset: u64,
        shape: Vec<usize>,
        strides: Vec<u64>,
    ) -> Result<Self, String> {
        if shape.len() != strides.len() || shape.len() > MAX_AXES {
            return Err(format!("a tensor has {} axes and {} strides", shape.len(), strides.len()));
        }
        let count = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
        let last = shape.iter().zip(&strides).try_fold(offset, |last, (&n, &stride)| {
            last.checked_add((n as u64).saturating_sub(1).checked_mul(stride)?)
        });
        let inside = match (count, last) {
            (Some(0), _) => true,
            (Some(_), Some(last)) => last < storage.elements,
            _ => false,
        };
        if !inside {
            return Err(format!(
                "a tensor of shape {shape:?} with strides {strides:?} from element {offset} on leaves its storage of {} elements",
                storage.elements
            ));
        }
        Ok(Self { storage, offset, shape, strides })
    }

    pub(super) fn storage(&self) -> &Storage {
        &self.storage
    }

    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of values; their product was checked.
    pub(super) fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are more values than the storage has elements, as only an expanded tensor has.
    pub(super) fn repeats_elements(&self) -> bool {
        self.count() as u64 > self.storage.elements
    }

    /// The values in C order, rounded to f32. `None` if the element type is not read or `bytes` are not the storage.
    pub(super) fn values(&self, bytes: &[u8]) -> Option<Vec<f32>> {
        match &self.storage.element {
            Element::F16 => self.gather(bytes, |b| f16::from_le_bytes(b).to_f32()),
            Element::Bf16 => self.gather(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            Element::F32 => self.gather(bytes, f32::from_le_bytes),
            Element::F64 => self.gather(bytes, |b| f64::from_le_bytes(b) as f32),
            Element::Other(_) => None,
        }
    }

    fn gather<const N: usize>(&self, bytes: &[u8], decode: impl Fn([u8; N]) -> f32) -> Option<Vec<f32>> {
        let (elements, _) = bytes.as_chunks::<N>();
        let count = self.count();
        let mut values = Vec::with_capacity(count);
        let mut index = vec![0usize; self.shape.len()];
        let mut at = self.offset;
        for _ in 0..count {
            values.push(decode(*elements.get(usize::try_from(at).ok()?)?));
            // The next index in C order; axes that are through return to their begin.
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                if index[axis] < self.shape[axis] {
                    at += self.strides[axis];
                    break;
                }
                at -= (self.shape[axis] as u64 - 1) * self.strides[axis];
                index[axis] = 0;
            }
        }
        Some(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage(elements: u64) -> Storage {
        Storage { key: "0".to_owned(), element: Element::F32, elements }
    }

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn a_transposed_view_is_read_in_c_order() {
        let view = TensorView::new(storage(8), 2, vec![2, 3], vec![1, 2]).unwrap();
        let values = view.values(&bytes(&[0., 1., 2., 3., 4., 5., 6., 7.])).unwrap();
        assert_eq!(values, [2., 4., 6., 3., 5., 7.]);
    }

    #[test]
    fn any_order_of_axes_and_any_gaps_give_what_the_definition_gives() {
        let shape = [2usize, 3, 4];
        let data: Vec<f32> = (0..400).map(|v| v as f32).collect();
        for (strides, offset) in [
            ([12, 4, 1], 0),
            ([1, 2, 6], 5),
            ([4, 8, 1], 3),
            ([100, 30, 7], 11),
            ([0, 4, 1], 0),
            ([1, 0, 0], 9),
        ] {
            let view = TensorView::new(storage(400), offset, shape.to_vec(), strides.to_vec()).unwrap();
            let mut expected = Vec::new();
            for z in 0..shape[0] as u64 {
                for y in 0..shape[1] as u64 {
                    for x in 0..shape[2] as u64 {
                        expected.push((offset + z * strides[0] + y * strides[1] + x * strides[2]) as f32);
                    }
                }
            }
            assert_eq!(view.values(&bytes(&data)).unwrap(), expected, "{strides:?}");
        }
    }

    #[test]
    fn scalars_and_empty_tensors_are_views_as_well() {
        let scalar = TensorView::new(storage(4), 3, vec![], vec![]).unwrap();
        assert_eq!(scalar.values(&bytes(&[0., 1., 2., 3.])).unwrap(), [3.0]);
        let empty = TensorView::new(storage(0), 0, vec![0, 5], vec![5, 1]).unwrap();
        assert_eq!(empty.values(&[]).unwrap(), [0.0; 0]);
    }

    #[test]
    fn views_that_leave_their_storage_are_refused() {
        for (offset, shape, strides) in [
            (0, vec![9], vec![1]),
            (1, vec![8], vec![1]),
            (8, vec![], vec![]),
            (0, vec![2, 4], vec![5, 1]),
            (u64::MAX, vec![2], vec![1]),
            (0, vec![3], vec![u64::MAX]),
            (0, vec![usize::MAX, usize::MAX], vec![0, 0]),
            (0, vec![usize::MAX], vec![1]),
            (0, vec![2], vec![1, 1]),
            (0, vec![1; 9], vec![1; 9]),
        ] {
            let view = TensorView::new(storage(8), offset, shape.clone(), strides.clone());
            assert!(view.is_err(), "{offset} {shape:?} {strides:?}");
        }
    }

    #[test]
    fn a_storage_shorter_than_it_claims_gives_no_values() {
        let view = TensorView::new(storage(8), 0, vec![8], vec![1]).unwrap();
        assert_eq!(view.values(&bytes(&[1.0; 7])), None);
    }

    #[test]
    fn half_and_double_precision_become_f32() {
        let view = |element, elements| {
            let storage = Storage { key: String::new(), element, elements };
            TensorView::new(storage, 0, vec![2], vec![1]).unwrap()
        };
        let half: Vec<u8> =
            [f16::from_f32(0.5), f16::from_f32(-3.0)].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(view(Element::F16, 2).values(&half).unwrap(), [0.5, -3.0]);
        let brain: Vec<u8> =
            [bf16::from_f32(0.5), bf16::from_f32(-3.0)].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(view(Element::Bf16, 2).values(&brain).unwrap(), [0.5, -3.0]);
        let double: Vec<u8> = [0.1f64, -3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(view(Element::F64, 2).values(&double).unwrap(), [0.1, -3.0]);
        assert_eq!(view(Element::Other("LongStorage".to_owned()), 2).values(&double), None);
    }
}
